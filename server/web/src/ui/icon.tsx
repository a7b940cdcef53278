// Icons, drawn on a grid of 24 with a pen of 1.75.

const PATHS = {
  devices: "M4 5.5h16v9H4zM9 18.5h6M12 14.5v4",
  bundles: "M12 3.5 20 8v8l-8 4.5L4 16V8zM4 8l8 4.5L20 8M12 12.5v8",
  deployments: "M12 20v-9M8 15l4-4 4 4M5 4.5h14",
  audit: "M6 3.5h9l4 4v13H6zM9.5 11h6M9.5 14.5h6M9.5 18h3",
  user: "M12 11.5a3.75 3.75 0 1 0 0-7.5 3.75 3.75 0 0 0 0 7.5ZM4.5 20c.8-3.6 3.8-5.5 7.5-5.5s6.7 1.9 7.5 5.5",
  people:
    "M9 11.5a3.25 3.25 0 1 0 0-6.5 3.25 3.25 0 0 0 0 6.5ZM2.5 19c.7-3.2 3.2-5 6.5-5s5.8 1.8 6.5 5M15.5 5.3a3.25 3.25 0 0 1 0 5.9M17.5 14.3c2.1.6 3.5 2.2 4 4.7",
  projects: "M3.5 18.5v-13h6l2 2.5h9v10.5z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.3 15.3 20 20",
  copy: "M9 8.5h10.5V20H9zM5 15.5H4.5V4H15v.5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6 6 18",
  upload: "M12 16V5M7.5 9.5 12 5l4.5 4.5M5 19.5h14",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.3 10.5v6M13.7 10.5v6",
  edit: "M5 19l.8-3.7L16 5l3 3L8.7 18.2zM14 7l3 3",
  ban: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17ZM6 6l12 12",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1",
  tag: "M4.5 4.5h7l8 8-7 7-8-8zM8.5 8.5h.01",
  logout: "M10 4.5H5v15h5M14.5 8l4 4-4 4M18.5 12H9.5",
  chevron: "M9.5 6l6 6-6 6",
  warning: "M12 4 21 19.5H3zM12 10v4.5M12 17h.01",
  shield: "M12 3.5l7 2.5v5.5c0 4.5-3 7.5-7 9-4-1.5-7-4.5-7-9V6zM9 12l2.2 2.2L15.2 10",
  offline: "M4 4l16 16M8.5 14.5a5 5 0 0 1 5-1.2M5 11a10 10 0 0 1 4-2.3M13 8.1A10 10 0 0 1 19 11M12 18h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A roof over water with a light in it. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path class="mark-roof" d="M6 15.5 16 7l10 8.5" />
      <circle class="mark-light" cx="16" cy="15.6" r="2.5" />
      <path class="mark-water" d="M5.5 22c2.6 0 2.6 1.9 5.25 1.9s2.6-1.9 5.25-1.9 2.6 1.9 5.25 1.9 2.6-1.9 5.25-1.9" />
    </svg>
  );
}
