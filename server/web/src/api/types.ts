// The REST API's types under short names. They are made from the server's OpenAPI document.

import type { components } from "./schema";

type Schemas = components["schemas"];

export type AuditEntry = Schemas["AuditEntry"];
export type Bundle = Schemas["Bundle"];
export type CreatedPairingToken = Schemas["CreatedPairingToken"];
export type Deployment = Schemas["Deployment"];
export type Device = Schemas["Device"];
export type DeviceProgress = Schemas["DeviceProgress"];
export type DeviceSlot = Schemas["DeviceSlot"];
export type DeviceUpdate = Schemas["DeviceUpdate"];
export type Event = Schemas["Event"];
export type Group = Schemas["Group"];
export type Health = Schemas["Health"];
export type NewDeployment = Schemas["NewDeployment"];
/** Every part may be left out. */
export type NewPairingToken = Partial<Schemas["NewPairingToken"]>;
export type PairingTokenInfo = Schemas["PairingTokenInfo"];
/** Part of a list; `next` is what to ask for to get the part behind it. */
export interface Page<T> {
  items: T[];
  next?: string | null;
}
export type Point = Schemas["Point"];
export type Problem = Schemas["Problem"];
export type Series = Schemas["Series"];
export type Session = Schemas["Session"];
export type StateChange = Schemas["StateChange"];
export type Target = Schemas["Target"];
export type UpdateHistory = Schemas["UpdateHistory"];
export type User = Schemas["User"];
export type Why = Schemas["Why"];
