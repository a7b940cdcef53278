// The frame around every page.

import { useComputed } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Permission } from "./api/types";
import { Account } from "./pages/account";
import { Audit } from "./pages/audit";
import { Bundles } from "./pages/bundles";
import { DeploymentPage } from "./pages/deployment";
import { Deployments } from "./pages/deployments";
import { DevicePage } from "./pages/device";
import { Devices } from "./pages/devices";
import { LoginPage } from "./pages/login";
import { People } from "./pages/people";
import { Person } from "./pages/person";
import { Projects } from "./pages/projects";
import { links, type Route, route } from "./route";
import {
  announcement,
  connection,
  fleet,
  loadError,
  loaded,
  login,
  logout,
  may,
  ownGrants,
  reconnect,
  refetch,
  serverStatus,
} from "./state";
import { isDark, toggleTheme } from "./theme";
import { Button, errorText, IconButton, say, Toasts } from "./ui/action";
import { Empty, Loading } from "./ui/bits";
import { Confirmation } from "./ui/dialog";
import { Icon, type IconName, Mark } from "./ui/icon";

export function App() {
  const now = login.value;
  if (now.state === "unknown") return <Starting />;
  if (now.state === "out") return <LoginPage expired={now.expired} />;
  return <Frame user={now.user.name} />;
}

function Starting() {
  return (
    <main class="starting">
      {loadError.value ? (
        <Empty icon="offline" title="The server does not answer">
          <p>{loadError.value}</p>
          <p class="muted">This page tries again by itself.</p>
        </Empty>
      ) : (
        <Loading what="Homeport" />
      )}
    </main>
  );
}

/** What the user must be allowed to do for a page to be offered. */
const NEEDS: Partial<Record<Route["page"], Permission>> = {
  devices: "device.read",
  device: "device.read",
  deployments: "deployment.read",
  deployment: "deployment.read",
  bundles: "bundle.read",
  audit: "audit.read",
  people: "user.read",
  person: "user.read",
  projects: "project.read",
};

function isOpen(page: Route["page"]): boolean {
  const needed = NEEDS[page];
  return !needed || may(needed);
}

const SECTIONS: { link: string; label: string; icon: IconName; pages: [Route["page"], ...Route["page"][]] }[] = [
  { link: links.devices, label: "Devices", icon: "devices", pages: ["devices", "device", "projects"] },
  { link: links.deployments, label: "Deployments", icon: "deployments", pages: ["deployments", "deployment"] },
  { link: links.bundles, label: "Bundles", icon: "bundles", pages: ["bundles"] },
  { link: links.audit, label: "Audit", icon: "audit", pages: ["audit"] },
  { link: links.people, label: "People", icon: "people", pages: ["people", "person"] },
];

function Frame({ user }: { user: string }) {
  const main = useRef<HTMLElement>(null);
  const place = useComputed(() => JSON.stringify(route.value));
  const first = useRef(true);
  // Somebody who moves by keyboard or screen reader lands at the new page's title, not where the old link was.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    scrollTo(0, 0);
    main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  }, [place.value]);
  return (
    <div class="frame">
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to content
      </button>
      <header class="side">
        <a class="brand" href={links.devices}>
          <Mark />
          <span>Homeport</span>
        </a>
        <Sections />
        <div class="side-foot">
          <ConnectionState />
          <div class="side-user">
            <a href={links.account} class="user" aria-label={`Account of ${user}`}>
              <Icon name="user" />
              <span>{user}</span>
            </a>
            <IconButton
              icon={isDark.value ? "sun" : "moon"}
              label={isDark.value ? "Use light colours" : "Use dark colours"}
              onClick={toggleTheme}
            />
            <IconButton
              icon="logout"
              label="Log out"
              onClick={() => void logout().catch((error) => say("bad", errorText(error)))}
            />
          </div>
        </div>
      </header>
      <div class="body">
        <Banner />
        <main id="main" ref={main} tabIndex={-1}>
          <Content />
        </main>
      </div>
      <Confirmation />
      <Toasts />
      <div class="hidden" role="status" aria-live="polite">
        {announcement}
      </div>
    </div>
  );
}

function Sections() {
  const running = useComputed(
    () => [...fleet.value.deployments.values()].filter((deployment) => !deployment.finished).length,
  );
  const open = SECTIONS.filter(({ pages: [first] }) => isOpen(first));
  if (open.length === 0) return null;
  return (
    <nav aria-label="Sections">
      {open.map(({ link, label, icon, pages }) => (
        <a key={link} href={link} {...(pages.includes(route.value.page) ? { "aria-current": "page" as const } : {})}>
          <Icon name={icon} />
          <span>{label}</span>
          {label === "Deployments" && running.value > 0 && (
            <span class="nav-count">
              {running.value}
              <span class="hidden"> running</span>
            </span>
          )}
        </a>
      ))}
    </nav>
  );
}

function ConnectionState() {
  const state = connection.value;
  const text = state === "live" ? "Live" : state === "offline" ? "Reconnecting" : "Connecting";
  return (
    <p class={`live ${state}`}>
      <span class="dot" aria-hidden="true" />
      {text}
    </p>
  );
}

/** What an operator should know of the server's own troubles. */
const TROUBLES: Record<string, string> = {
  "disk-low": "The server's disk is nearly full: devices keep their telemetry until there is room. Free some space.",
  "disk-full":
    "The server's disk is full: devices keep their telemetry and reports until there is room. Free some space soon.",
  failing: "The server cannot write to its database: nothing can be changed. Its log says why.",
};

function Banner() {
  const offline = connection.value === "offline";
  const trouble = TROUBLES[serverStatus.value];
  return (
    <div role="status" class={offline || trouble ? "banner" : "gone"}>
      {offline ? (
        <>
          <Icon name="offline" />
          <p>The connection to the server is lost. What you see may be old; this page reconnects by itself.</p>
          <Button onClick={reconnect}>Try now</Button>
        </>
      ) : (
        trouble && (
          <>
            <Icon name="warning" />
            <p>{trouble}</p>
          </>
        )
      )}
    </div>
  );
}

function Content() {
  const at = route.value;
  if (!isOpen(at.page)) return <NotAllowed />;
  if (at.page === "account") return <Account />;
  if (at.page === "audit") return <Audit />;
  if (at.page === "people") return <People />;
  if (at.page === "person") return <Person key={at.name} name={at.name} />;
  if (at.page === "projects") return <Projects />;
  if (!loaded.value) {
    if (!loadError.value) return <Loading what="your fleet" />;
    return (
      <Empty icon="warning" title="The fleet could not be loaded">
        <p>{loadError.value}</p>
        <Button kind="primary" onClick={() => void refetch()}>
          Try again
        </Button>
      </Empty>
    );
  }
  switch (at.page) {
    case "devices":
      return <Devices />;
    case "device":
      return <DevicePage key={at.id} id={at.id} />;
    case "bundles":
      return <Bundles />;
    case "deployments":
      return <Deployments />;
    case "deployment":
      return <DeploymentPage key={at.id} id={at.id} />;
    default:
      return (
        <Empty page icon="search" title="There is no such page">
          <p>
            <a href={links.devices}>Go to the devices</a>
          </p>
        </Empty>
      );
  }
}

function NotAllowed() {
  return (
    <Empty
      page
      icon="shield"
      title={ownGrants().length === 0 ? "You have no role yet" : "Your roles do not include this"}
    >
      <p class="muted">Ask an administrator for the role that you need. This page then shows more by itself.</p>
      <p>
        <a href={links.account}>Your roles</a>
      </p>
    </Empty>
  );
}
