// The REST API's types under short names. They are made from the server's OpenAPI document.

import type { components } from "./schema";

type Schemas = components["schemas"];

export type AccessToken = Schemas["AccessToken"];
export type AuditEntry = Schemas["AuditEntry"];
export type Bundle = Schemas["Bundle"];
export type Command = Schemas["Command"];
export type CommandKind = Schemas["CommandKind"];
export type CommandRun = Schemas["CommandRun"];
export type CreatedAccessToken = Schemas["CreatedAccessToken"];
export type CreatedPairingToken = Schemas["CreatedPairingToken"];
export type CreatedUser = Schemas["CreatedUser"];
export type Deployment = Schemas["Deployment"];
export type Device = Schemas["Device"];
export type DeviceProgress = Schemas["DeviceProgress"];
export type DeviceSlot = Schemas["DeviceSlot"];
export type DeviceUpdate = Schemas["DeviceUpdate"];
export type Event = Schemas["Event"];
export type Grant = Schemas["Grant"];
export type Group = Schemas["Group"];
export type Health = Schemas["Health"];
export type NewAccessToken = Schemas["NewAccessToken"];
/** Limits may be left out. */
export type NewCommand = Pick<Schemas["NewCommand"], "name" | "target" | "arguments">;
export type NewDeployment = Schemas["NewDeployment"];
export type NewGrant = Schemas["NewGrant"];
/** Every part may be left out. */
export type NewPairingToken = Partial<Schemas["NewPairingToken"]>;
export type NewUser = Schemas["NewUser"];
export type PairingTokenInfo = Schemas["PairingTokenInfo"];
/** Part of a list; `next` is what to ask for to get the part behind it. */
export interface Page<T> {
  items: T[];
  next?: string | null;
}
export type Permission = Schemas["Permission"];
export type Point = Schemas["Point"];
export type Problem = Schemas["Problem"];
export type Project = Schemas["Project"];
export type Role = Schemas["Role"];
export type Series = Schemas["Series"];
export type Session = Schemas["Session"];
export type StateChange = Schemas["StateChange"];
export type Target = Schemas["Target"];
export type UpdateHistory = Schemas["UpdateHistory"];
export type User = Schemas["User"];
export type UserInfo = Schemas["UserInfo"];
export type UserKind = Schemas["UserKind"];
export type Why = Schemas["Why"];
