// Makes src/api/schema.ts from the server's OpenAPI document; with --check, fails when it is not what the document says.
// Only the types of requests and answers: the calls themselves are in src/api/client.ts.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const target = new URL("src/api/schema.ts", import.meta.url);
const document = JSON.parse(await readFile(new URL("../openapi.json", import.meta.url), "utf8"));
const types = astToString(await openapiTS({ ...document, paths: {} }, { emptyObjectsUnknown: true }));
const made = `// Made from ../../../openapi.json by \`npm run api-types\`: change the crate homeport-api instead.\n\n${types}`;

if (process.argv.includes("--check")) {
  if ((await readFile(target, "utf8")) !== made) {
    console.error("src/api/schema.ts is not what ../openapi.json says: run `npm run api-types` and mend what breaks");
    process.exit(1);
  }
} else {
  await writeFile(target, made);
}
