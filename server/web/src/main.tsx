import { render } from "preact";
import { App } from "./app";
import { watchRoute } from "./route";
import { resume } from "./state";

const place = document.getElementById("app");
if (place) {
  watchRoute();
  render(<App />, place);
  void resume();
}
