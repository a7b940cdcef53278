// Light, dark, or whatever the system says.

import { computed, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "homeport-theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(systemDark.matches);
systemDark.addEventListener("change", (event) => {
  systemIsDark.value = event.matches;
});

const stored = localStorage.getItem(KEY);
export const theme = signal<Theme>(stored === "light" || stored === "dark" ? stored : "system");

/** What is shown. */
export const isDark = computed(() => theme.value === "dark" || (theme.value === "system" && systemIsDark.value));

/** From one to the other; back on the system's own choice it follows the system again. */
export function toggleTheme(): void {
  const next = isDark.value ? "light" : "dark";
  const follows = (next === "dark") === systemIsDark.value;
  theme.value = follows ? "system" : next;
  if (follows) {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset["theme"];
  } else {
    localStorage.setItem(KEY, next);
    document.documentElement.dataset["theme"] = next;
  }
}
