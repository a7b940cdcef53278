// A bundle in the shape that RAUC gives its format `verity`: payload, CMS signature that carries the manifest, and the
// signature's length in 8 bytes. The payload is no file system: the server does not look at it, and no device gets it.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BLOCK = 4096;

export function bundle(version: string, compatible: string, blocks: number): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "homeport-web-bundle-"));
  const at = (name: string) => join(folder, name);
  try {
    const manifest = [
      "[update]",
      `compatible=${compatible}`,
      `version=${version}`,
      "description=For the tests of the page",
      "build=20261121",
      "",
      "[bundle]",
      "format=verity",
      `verity-hash=${"0".repeat(64)}`,
      `verity-salt=${"0".repeat(64)}`,
      `verity-size=${BLOCK}`,
      "",
      "[image.rootfs]",
      `sha256=${"0".repeat(64)}`,
      `size=${(blocks - 1) * BLOCK}`,
      "filename=rootfs.ext4",
      "adaptive=block-hash-index",
      "",
    ].join("\n");
    writeFileSync(at("manifest"), manifest);
    const key = [
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-subj",
      "/CN=test",
      "-days",
      "2",
    ];
    execFileSync("openssl", ["req", ...key, "-keyout", at("key"), "-out", at("crt")], { stdio: "pipe" });
    const sign = ["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", at("crt"), "-inkey", at("key")];
    execFileSync("openssl", [...sign, "-in", at("manifest"), "-out", at("cms")], { stdio: "pipe" });
    const cms = readFileSync(at("cms"));
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(cms.length));
    return Buffer.concat([Buffer.alloc(blocks * BLOCK, version), cms, length]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
