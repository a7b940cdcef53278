// Made from ../../../openapi.json by `npm run api-types`: change the crate homeport-api instead.

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description An access token, without its secret. */
        AccessToken: {
            /**
             * Format: int64
             * @description When it was made.
             */
            created_ms: number;
            /**
             * Format: int64
             * @description When it ends.
             */
            expires_ms: number;
            /**
             * Format: int64
             * @description Number.
             */
            id: number;
            /**
             * Format: int64
             * @description When it was last used, to the minute; absent if it never was.
             */
            last_used_ms?: number | null;
            /** @description The name that its maker gave it. */
            name: string;
            /** @description Path of the project to which it is limited. */
            project?: string | null;
            /** @description The most that it can do: a role that the user lacks adds nothing. */
            role: components["schemas"]["Role"];
        };
        /** @description One entry, newest first in listings. */
        AuditEntry: {
            /** @description The action, e.g. `deployment.create`. */
            action: string;
            /** @description User, `device:<id>` or `system`. */
            actor: string;
            /**
             * Format: int64
             * @description When the action happened.
             */
            at_ms: number;
            /** @description Details, as text. */
            detail: string;
            /**
             * Format: int64
             * @description Number, rising.
             */
            id: number;
            /** @description Path of the project that it concerns; absent if it concerns none, or everything. */
            project?: string | null;
            /** @description The object of the action, e.g. a device id. */
            subject: string;
        };
        /** @description An update bundle in the server's store. */
        Bundle: {
            /** @description `build` of the manifest. */
            build: string;
            /** @description `compatible` of the manifest. */
            compatible: string;
            /** @description User who uploaded it. */
            created_by: string;
            /**
             * Format: int64
             * @description When it was uploaded.
             */
            created_ms: number;
            /** @description `description` of the manifest. */
            description: string;
            /**
             * @description RAUC bundle format: `verity`. `plain` bundles cannot be streamed, and the manifest of `crypt` bundles cannot be read: the server
             *     refuses both.
             */
            format: string;
            /** @description Lower-case hex SHA-256 of the file. */
            id: string;
            /** @description The images inside. */
            images: components["schemas"]["BundleImage"][];
            /** @description SHA-256 of the manifest, as RAUC computes it. */
            manifest_hash: string;
            /** @description Path of the project that can deploy it, with all projects below; absent if every project can. */
            project?: string | null;
            /**
             * Format: int64
             * @description Length in bytes.
             */
            size: number;
            /** @description `version` of the manifest. */
            version: string;
        };
        /** @description One image of a bundle. */
        BundleImage: {
            /** @description Adaptive methods, e.g. `block-hash-index`. */
            adaptive: string[];
            /** @description File name. */
            filename: string;
            /**
             * Format: int64
             * @description Length in bytes.
             */
            size: number;
            /** @description Slot class, e.g. `rootfs`. */
            slot_class: string;
        };
        /** @description A requested command, with the number of its runs in each state. */
        Command: {
            /** @description Its arguments. */
            arguments: Record<string, unknown>;
            /** @description User who requested it. */
            created_by: string;
            /**
             * Format: int64
             * @description When it was requested.
             */
            created_ms: number;
            /** @description Name of the device, for a command on one that is still there. */
            device_name?: string | null;
            /**
             * Format: int64
             * @description From this moment on it does not begin on a device.
             */
            expires_ms: number;
            /** @description Whether every run has ended. */
            finished: boolean;
            /**
             * Format: int64
             * @description Number.
             */
            id: number;
            /** @description Name of the command. */
            name: string;
            /** @description Path of the project of its target; absent if that is in none. */
            project?: string | null;
            /** @description How many runs are in each state, by its name; states without runs are left out. */
            states: {
                [key: string]: number;
            };
            /** @description Its target. */
            target: components["schemas"]["Target"];
            /**
             * Format: int32
             * @description Seconds that it may run.
             */
            timeout_s: number;
            /**
             * Format: int64
             * @description When a run last changed; for a command without runs, when it was requested.
             */
            updated_ms: number;
        };
        /** @description A command that can be requested. */
        CommandKind: {
            /** @description What it does: a sentence. */
            about: string;
            /** @description JSON Schema (draft 2020-12) of its arguments. */
            arguments: Record<string, unknown>;
            /** @description Its name. */
            name: string;
            /**
             * @description For a device: what its policy says, `allowed`, `depends` (on the arguments) or `denied`. Absent if the device does not have the
             *     command, or did not say.
             */
            policy?: string | null;
            /** @description JSON Schema of its result. */
            result: Record<string, unknown>;
            /**
             * Format: int32
             * @description Seconds that it may run unless the request says something else.
             */
            timeout_s: number;
        };
        /** @description The run of a command on one device. */
        CommandRun: {
            /** @description Its arguments. */
            arguments: Record<string, unknown>;
            /**
             * Format: int64
             * @description When the device began it, as the server learned of it.
             */
            begun_ms?: number | null;
            /** @description Whether somebody wants it cancelled. */
            cancelling: boolean;
            /**
             * Format: int64
             * @description Number of the command.
             */
            command: number;
            /** @description User who requested it. */
            created_by: string;
            /**
             * Format: int64
             * @description When it was requested.
             */
            created_ms: number;
            /** @description Why it ended like this, for people; empty if there is nothing to say. */
            detail: string;
            /** @description Id of the device. */
            device: string;
            /** @description Its name. */
            device_name: string;
            /**
             * Format: int64
             * @description Bytes of output that the device threw away because they were too many.
             */
            dropped_bytes: number;
            /**
             * Format: int32
             * @description Exit status of the program that it ran.
             */
            exit_status?: number | null;
            /**
             * Format: int64
             * @description Number, among all runs of all commands.
             */
            id: number;
            /** @description Name of the command. */
            name: string;
            /**
             * Format: int64
             * @description Bytes of output that came so far.
             */
            output_end: number;
            /**
             * Format: int64
             * @description Place of the first byte of output that the server still has.
             */
            output_start: number;
            /** @description Its result, which matches the schema of its [`CommandKind`]. Lists of runs leave it out. */
            result?: Record<string, unknown> | null;
            /** @description Its state. */
            state: components["schemas"]["RunState"];
            /**
             * Format: int64
             * @description When it changed last.
             */
            updated_ms: number;
        };
        /** @description An access token with its secret. */
        CreatedAccessToken: {
            /** @description The secret, shown once: send it as `Authorization: Bearer <secret>`. */
            secret: string;
            /** @description The token. */
            token: components["schemas"]["AccessToken"];
        };
        /** @description A new token. The server shows its text only in this answer. */
        CreatedPairingToken: components["schemas"]["PairingTokenInfo"] & {
            /** @description The text for `homeport-agent pair`. */
            token: string;
        };
        /** @description A user with a new password. */
        CreatedUser: {
            /** @description The password, shown once; absent for a service. */
            password?: string | null;
            /** @description The user. */
            user: components["schemas"]["UserInfo"];
        };
        /** @description A deployment, with the number of its devices in each state. */
        Deployment: {
            /** @description Id of the bundle. */
            bundle: string;
            /** @description User who made it. */
            created_by: string;
            /**
             * Format: int64
             * @description When it was made.
             */
            created_ms: number;
            /** @description Name of the device, for a deployment to one that is still there. */
            device_name?: string | null;
            /** @description Whether every device is in a final state. */
            finished: boolean;
            /**
             * Format: int64
             * @description Number.
             */
            id: number;
            /** @description Path of the project of its target; absent if that is in none. */
            project?: string | null;
            /** @description How many devices are in each state, by its name; states without devices are left out. */
            states: {
                [key: string]: number;
            };
            /** @description Its target. */
            target: components["schemas"]["Target"];
            /**
             * Format: int64
             * @description When a device last entered a state; for a deployment without devices, when it was made.
             */
            updated_ms: number;
            /** @description Version of the bundle. */
            version: string;
        };
        /** @description A paired device. */
        Device: {
            /** @description Address that it last connected from. */
            address?: string | null;
            /** @description Version of the agent. */
            agent_version: string;
            /** @description Machine architecture. */
            architecture: string;
            /**
             * Format: int64
             * @description When its certificate expires.
             */
            certificate_expires_ms: number;
            /** @description SHA-256 of its certificate, lower-case hex. */
            certificate_sha256: string;
            /** @description `compatible` of the update backend. */
            compatible: string;
            /** @description Names of the groups it is in. Only those that the reader may see. */
            groups: string[];
            /** @description Host name. */
            hostname: string;
            /** @description Identity, the common name of its certificate. */
            id: string;
            /** @description Kernel release. */
            kernel: string;
            /**
             * Format: int64
             * @description When it last connected, disconnected or sent something; absent if it never did.
             */
            last_seen_ms?: number | null;
            /** @description Model. */
            model?: string | null;
            /** @description Name that people gave it. */
            name: string;
            /** @description Whether it is connected now. */
            online: boolean;
            /** @description Operating system. */
            os: string;
            /** @description Version of the running image. */
            os_version: string;
            /**
             * Format: int64
             * @description When it was paired.
             */
            paired_ms: number;
            /** @description Path of its project; absent if it is in none. */
            project?: string | null;
            /** @description Whether its certificate was revoked: it cannot connect until it is paired again. */
            revoked: boolean;
            /** @description Hardware serial number. */
            serial?: string | null;
            /** @description Slots of the update backend. */
            slots: components["schemas"]["DeviceSlot"][];
            update?: null | components["schemas"]["DeviceUpdate"];
            /** @description Update backend and version, e.g. `rauc 1.13`. */
            updater: string;
        };
        /** @description A change to a device. */
        DevicePatch: {
            /**
             * @description New name, 1 to 128 characters.
             * @default null
             */
            name: string | null;
            /**
             * @description Path of the project to move it to; empty to take it out of its project. It leaves groups of other projects.
             * @default null
             */
            project: string | null;
        };
        /** @description One device of a deployment. */
        DeviceProgress: components["schemas"]["DeviceUpdate"] & {
            /** @description Id of the device. */
            device: string;
            /** @description Its name. */
            device_name: string;
        };
        /** @description One slot of the update backend. */
        DeviceSlot: {
            /** @description `good`, `bad` or empty. */
            boot_status: string;
            /** @description Bootloader's name, e.g. `A`. */
            bootname: string;
            /** @description When the backend installed it, RFC 3339 by the device's clock. */
            installed_at: string;
            /** @description The backend's name, e.g. `rootfs.0`. */
            name: string;
            /** @description `booted`, `active` or `inactive`. */
            state: string;
            /** @description Version of the bundle that was installed last. */
            version: string;
        };
        /** @description One update on one device. An [`UpdateHistory`] adds the states that it went through. */
        DeviceUpdate: {
            /**
             * Format: int64
             * @description Length of the bundle in bytes, 0 when unknown.
             */
            bundle_size: number;
            /**
             * Format: int64
             * @description Bytes that the device fetched.
             */
            bytes_fetched: number;
            /**
             * Format: int64
             * @description Number of the deployment; absent for updates that did not come through Homeport.
             */
            deployment?: number | null;
            /**
             * Format: int64
             * @description Number, among all updates of all devices.
             */
            id: number;
            /** @description The current step of the device's update backend, in the backend's own words. */
            message: string;
            /** @description Its origin. */
            origin: components["schemas"]["UpdateOrigin"];
            /**
             * Format: int32
             * @description Progress of the present state in percent, 0 to 100.
             */
            percent: number;
            /** @description The state before this one, e.g. the state in which it failed. */
            previous?: string | null;
            reason?: null | components["schemas"]["Why"];
            /** @description Slot that ran then. */
            running_slot: string;
            /** @description Version that ran when it entered the state, if the device reported it. */
            running_version: string;
            /**
             * Format: int64
             * @description When it started.
             */
            started_ms: number;
            /**
             * @description Its state: `offered`, `waiting`, `downloading`, `installing`, `installed`, `rebooting`, `trial`, `verified`, `rolled_back`,
             *     `failed`, `cancelled`.
             */
            state: string;
            /**
             * Format: int64
             * @description How many states it has entered.
             */
            steps: number;
            /**
             * Format: int64
             * @description When it changed last.
             */
            updated_ms: number;
            /** @description Version of the bundle. */
            version: string;
        };
        /** @description Something that just happened. A client that missed events (`resync`) fetches again what it shows. */
        Event: {
            /** @description The device as it is now. */
            device: components["schemas"]["Device"];
            /** @enum {string} */
            type: "device";
        } | {
            /** @description Its id. */
            id: string;
            /** @enum {string} */
            type: "device_removed";
        } | {
            /** @description The deployment as it is now. */
            deployment: components["schemas"]["Deployment"];
            /** @enum {string} */
            type: "deployment";
        } | {
            /** @enum {string} */
            type: "update";
            /** @description The update as it is now. */
            update: components["schemas"]["DeviceProgress"];
        } | {
            /** @description The run as it is now. */
            run: components["schemas"]["CommandRun"];
            /** @enum {string} */
            type: "command";
        } | {
            /** @description Id of the device. */
            device: string;
            /** @description The samples. */
            series: components["schemas"]["Series"][];
            /** @enum {string} */
            type: "telemetry";
        } | {
            /** @description The bundle. */
            bundle: components["schemas"]["Bundle"];
            /** @enum {string} */
            type: "bundle";
        } | {
            /** @description Its id. */
            id: string;
            /** @description Path of the project; absent if it was in none. */
            project?: string | null;
            /** @enum {string} */
            type: "bundle_removed";
        } | {
            /** @enum {string} */
            type: "resync";
        };
        /** @description A role for a user: on a project and all below it, on a group, or on everything if neither is set. */
        Grant: {
            /** @description Name of the group. */
            group?: string | null;
            /**
             * Format: int64
             * @description Number.
             */
            id: number;
            /** @description Path of the project. */
            project?: string | null;
            /** @description The role. */
            role: components["schemas"]["Role"];
        };
        /** @description A group of devices. */
        Group: {
            /**
             * Format: int64
             * @description Number of its devices. `GET /api/v1/devices?group=` lists them.
             */
            devices: number;
            /** @description Name, with the path of its project. */
            name: string;
            /** @description Path of its project; absent if it is in none. */
            project?: string | null;
        };
        /** @description Whether the server is up. */
        Health: {
            /** @description `ok`, `disk-low` (devices keep their telemetry), `disk-full` (devices keep everything) or `failing` (the server cannot write). */
            status: string;
            /** @description Version of the server. */
            version: string;
        };
        /** @description Credentials. */
        Login: {
            /** @description Password. */
            password: string;
            /** @description User name. */
            user: string;
        };
        /** @description An access token to make. */
        NewAccessToken: {
            /**
             * Format: int32
             * @description Its life, 1 to 366.
             */
            days: number;
            /** @description Name, 1 to 64 characters. */
            name: string;
            /** @description Path of the project to which it is limited. */
            project?: string | null;
            /** @description The most that it can do. */
            role: components["schemas"]["Role"];
        };
        /** @description A request for a command. */
        NewCommand: {
            /** @description Its arguments: an object. Without it, an empty one. */
            arguments?: Record<string, unknown> | null;
            /**
             * Format: int32
             * @description Seconds until a device must have begun it, at most 30 days. Without it, an hour.
             */
            expires_s?: number | null;
            /** @description Name of the command. */
            name: string;
            /** @description Devices that run it. */
            target: components["schemas"]["Target"];
            /**
             * Format: int32
             * @description Seconds that it may run on a device, at most a day. Without it, that of the [`CommandKind`].
             */
            timeout_s?: number | null;
        };
        /** @description A request for a deployment. */
        NewDeployment: {
            /** @description Id of the bundle. */
            bundle: string;
            /** @description Devices that get it. */
            target: components["schemas"]["Target"];
        };
        /** @description A role to grant. It replaces the role that the user has on the same project or group. */
        NewGrant: {
            /** @description Name of the group. */
            group?: string | null;
            /** @description Path of the project. */
            project?: string | null;
            /** @description The role. */
            role: components["schemas"]["Role"];
        };
        /** @description A new group. */
        NewGroup: {
            /** @description 1 to 64 of `a-z 0-9 -`. A group of a project has the project's path and `/` before it, e.g. `acme/pilot`. */
            name: string;
        };
        /** @description A request for a one-time pairing token. */
        NewPairingToken: {
            /**
             * @description Pair this device again: it keeps its id and history, and its old certificate is revoked.
             * @default null
             */
            device: string | null;
            /**
             * @description Name that the device gets. Without it, the device's host name.
             * @default null
             */
            device_name: string | null;
            /**
             * @description Path of the project for the device; empty for none. Without it, the only project in which the user may pair, else none. A device that is
             *     paired again stays in its project.
             * @default null
             */
            project: string | null;
            /**
             * Format: int64
             * @description Seconds until it expires: 1 to 2592000 (30 days). Without it, 3600.
             * @default null
             */
            ttl_seconds: number | null;
        };
        /** @description A new project. */
        NewProject: {
            /** @description Path: 1 to 4 names of 1 to 32 characters of `a-z 0-9 -`, joined by `/`. The project above it exists. */
            path: string;
        };
        /** @description A new user. It can do nothing until a role is granted. */
        NewUser: {
            /** @description Person or service. */
            kind: components["schemas"]["UserKind"];
            /** @description User name, 1 to 64 of `a-z A-Z 0-9 . _ - @`. */
            name: string;
            /** @description Path of the project whose administrators manage the user. */
            project?: string | null;
        };
        /** @description A line of a run's output, which comes as `application/x-ndjson`. */
        OutputLine: {
            /** @description The run, with its result. */
            run: components["schemas"]["CommandRun"];
            /** @enum {string} */
            type: "run";
        } | {
            /**
             * Format: int64
             * @description Place of its first byte in the output.
             */
            at: number;
            /** @description The bytes, in Base64 (RFC 4648, section 4). They are the device's: a terminal may obey them, so show them with care. */
            data: string;
            /** @description `stdout` or `stderr`. */
            stream: string;
            /** @enum {string} */
            type: "output";
        };
        /** @description Part of a list. */
        Page_AccessToken: {
            /** @description The items, in the order of the list. */
            items: {
                /**
                 * Format: int64
                 * @description When it was made.
                 */
                created_ms: number;
                /**
                 * Format: int64
                 * @description When it ends.
                 */
                expires_ms: number;
                /**
                 * Format: int64
                 * @description Number.
                 */
                id: number;
                /**
                 * Format: int64
                 * @description When it was last used, to the minute; absent if it never was.
                 */
                last_used_ms?: number | null;
                /** @description The name that its maker gave it. */
                name: string;
                /** @description Path of the project to which it is limited. */
                project?: string | null;
                /** @description The most that it can do: a role that the user lacks adds nothing. */
                role: components["schemas"]["Role"];
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_AuditEntry: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description The action, e.g. `deployment.create`. */
                action: string;
                /** @description User, `device:<id>` or `system`. */
                actor: string;
                /**
                 * Format: int64
                 * @description When the action happened.
                 */
                at_ms: number;
                /** @description Details, as text. */
                detail: string;
                /**
                 * Format: int64
                 * @description Number, rising.
                 */
                id: number;
                /** @description Path of the project that it concerns; absent if it concerns none, or everything. */
                project?: string | null;
                /** @description The object of the action, e.g. a device id. */
                subject: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Bundle: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description `build` of the manifest. */
                build: string;
                /** @description `compatible` of the manifest. */
                compatible: string;
                /** @description User who uploaded it. */
                created_by: string;
                /**
                 * Format: int64
                 * @description When it was uploaded.
                 */
                created_ms: number;
                /** @description `description` of the manifest. */
                description: string;
                /**
                 * @description RAUC bundle format: `verity`. `plain` bundles cannot be streamed, and the manifest of `crypt` bundles cannot be read: the server
                 *     refuses both.
                 */
                format: string;
                /** @description Lower-case hex SHA-256 of the file. */
                id: string;
                /** @description The images inside. */
                images: components["schemas"]["BundleImage"][];
                /** @description SHA-256 of the manifest, as RAUC computes it. */
                manifest_hash: string;
                /** @description Path of the project that can deploy it, with all projects below; absent if every project can. */
                project?: string | null;
                /**
                 * Format: int64
                 * @description Length in bytes.
                 */
                size: number;
                /** @description `version` of the manifest. */
                version: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Command: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description Its arguments. */
                arguments: Record<string, unknown>;
                /** @description User who requested it. */
                created_by: string;
                /**
                 * Format: int64
                 * @description When it was requested.
                 */
                created_ms: number;
                /** @description Name of the device, for a command on one that is still there. */
                device_name?: string | null;
                /**
                 * Format: int64
                 * @description From this moment on it does not begin on a device.
                 */
                expires_ms: number;
                /** @description Whether every run has ended. */
                finished: boolean;
                /**
                 * Format: int64
                 * @description Number.
                 */
                id: number;
                /** @description Name of the command. */
                name: string;
                /** @description Path of the project of its target; absent if that is in none. */
                project?: string | null;
                /** @description How many runs are in each state, by its name; states without runs are left out. */
                states: {
                    [key: string]: number;
                };
                /** @description Its target. */
                target: components["schemas"]["Target"];
                /**
                 * Format: int32
                 * @description Seconds that it may run.
                 */
                timeout_s: number;
                /**
                 * Format: int64
                 * @description When a run last changed; for a command without runs, when it was requested.
                 */
                updated_ms: number;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_CommandRun: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description Its arguments. */
                arguments: Record<string, unknown>;
                /**
                 * Format: int64
                 * @description When the device began it, as the server learned of it.
                 */
                begun_ms?: number | null;
                /** @description Whether somebody wants it cancelled. */
                cancelling: boolean;
                /**
                 * Format: int64
                 * @description Number of the command.
                 */
                command: number;
                /** @description User who requested it. */
                created_by: string;
                /**
                 * Format: int64
                 * @description When it was requested.
                 */
                created_ms: number;
                /** @description Why it ended like this, for people; empty if there is nothing to say. */
                detail: string;
                /** @description Id of the device. */
                device: string;
                /** @description Its name. */
                device_name: string;
                /**
                 * Format: int64
                 * @description Bytes of output that the device threw away because they were too many.
                 */
                dropped_bytes: number;
                /**
                 * Format: int32
                 * @description Exit status of the program that it ran.
                 */
                exit_status?: number | null;
                /**
                 * Format: int64
                 * @description Number, among all runs of all commands.
                 */
                id: number;
                /** @description Name of the command. */
                name: string;
                /**
                 * Format: int64
                 * @description Bytes of output that came so far.
                 */
                output_end: number;
                /**
                 * Format: int64
                 * @description Place of the first byte of output that the server still has.
                 */
                output_start: number;
                /** @description Its result, which matches the schema of its [`CommandKind`]. Lists of runs leave it out. */
                result?: Record<string, unknown> | null;
                /** @description Its state. */
                state: components["schemas"]["RunState"];
                /**
                 * Format: int64
                 * @description When it changed last.
                 */
                updated_ms: number;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Deployment: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description Id of the bundle. */
                bundle: string;
                /** @description User who made it. */
                created_by: string;
                /**
                 * Format: int64
                 * @description When it was made.
                 */
                created_ms: number;
                /** @description Name of the device, for a deployment to one that is still there. */
                device_name?: string | null;
                /** @description Whether every device is in a final state. */
                finished: boolean;
                /**
                 * Format: int64
                 * @description Number.
                 */
                id: number;
                /** @description Path of the project of its target; absent if that is in none. */
                project?: string | null;
                /** @description How many devices are in each state, by its name; states without devices are left out. */
                states: {
                    [key: string]: number;
                };
                /** @description Its target. */
                target: components["schemas"]["Target"];
                /**
                 * Format: int64
                 * @description When a device last entered a state; for a deployment without devices, when it was made.
                 */
                updated_ms: number;
                /** @description Version of the bundle. */
                version: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Device: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description Address that it last connected from. */
                address?: string | null;
                /** @description Version of the agent. */
                agent_version: string;
                /** @description Machine architecture. */
                architecture: string;
                /**
                 * Format: int64
                 * @description When its certificate expires.
                 */
                certificate_expires_ms: number;
                /** @description SHA-256 of its certificate, lower-case hex. */
                certificate_sha256: string;
                /** @description `compatible` of the update backend. */
                compatible: string;
                /** @description Names of the groups it is in. Only those that the reader may see. */
                groups: string[];
                /** @description Host name. */
                hostname: string;
                /** @description Identity, the common name of its certificate. */
                id: string;
                /** @description Kernel release. */
                kernel: string;
                /**
                 * Format: int64
                 * @description When it last connected, disconnected or sent something; absent if it never did.
                 */
                last_seen_ms?: number | null;
                /** @description Model. */
                model?: string | null;
                /** @description Name that people gave it. */
                name: string;
                /** @description Whether it is connected now. */
                online: boolean;
                /** @description Operating system. */
                os: string;
                /** @description Version of the running image. */
                os_version: string;
                /**
                 * Format: int64
                 * @description When it was paired.
                 */
                paired_ms: number;
                /** @description Path of its project; absent if it is in none. */
                project?: string | null;
                /** @description Whether its certificate was revoked: it cannot connect until it is paired again. */
                revoked: boolean;
                /** @description Hardware serial number. */
                serial?: string | null;
                /** @description Slots of the update backend. */
                slots: components["schemas"]["DeviceSlot"][];
                update?: null | components["schemas"]["DeviceUpdate"];
                /** @description Update backend and version, e.g. `rauc 1.13`. */
                updater: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_DeviceProgress: {
            /** @description The items, in the order of the list. */
            items: (components["schemas"]["DeviceUpdate"] & {
                /** @description Id of the device. */
                device: string;
                /** @description Its name. */
                device_name: string;
            })[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_DeviceUpdate: {
            /** @description The items, in the order of the list. */
            items: {
                /**
                 * Format: int64
                 * @description Length of the bundle in bytes, 0 when unknown.
                 */
                bundle_size: number;
                /**
                 * Format: int64
                 * @description Bytes that the device fetched.
                 */
                bytes_fetched: number;
                /**
                 * Format: int64
                 * @description Number of the deployment; absent for updates that did not come through Homeport.
                 */
                deployment?: number | null;
                /**
                 * Format: int64
                 * @description Number, among all updates of all devices.
                 */
                id: number;
                /** @description The current step of the device's update backend, in the backend's own words. */
                message: string;
                /** @description Its origin. */
                origin: components["schemas"]["UpdateOrigin"];
                /**
                 * Format: int32
                 * @description Progress of the present state in percent, 0 to 100.
                 */
                percent: number;
                /** @description The state before this one, e.g. the state in which it failed. */
                previous?: string | null;
                reason?: null | components["schemas"]["Why"];
                /** @description Slot that ran then. */
                running_slot: string;
                /** @description Version that ran when it entered the state, if the device reported it. */
                running_version: string;
                /**
                 * Format: int64
                 * @description When it started.
                 */
                started_ms: number;
                /**
                 * @description Its state: `offered`, `waiting`, `downloading`, `installing`, `installed`, `rebooting`, `trial`, `verified`, `rolled_back`,
                 *     `failed`, `cancelled`.
                 */
                state: string;
                /**
                 * Format: int64
                 * @description How many states it has entered.
                 */
                steps: number;
                /**
                 * Format: int64
                 * @description When it changed last.
                 */
                updated_ms: number;
                /** @description Version of the bundle. */
                version: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Group: {
            /** @description The items, in the order of the list. */
            items: {
                /**
                 * Format: int64
                 * @description Number of its devices. `GET /api/v1/devices?group=` lists them.
                 */
                devices: number;
                /** @description Name, with the path of its project. */
                name: string;
                /** @description Path of its project; absent if it is in none. */
                project?: string | null;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_PairingTokenInfo: {
            /** @description The items, in the order of the list. */
            items: {
                /** @description User who made it. */
                created_by: string;
                /**
                 * Format: int64
                 * @description When it was made.
                 */
                created_ms: number;
                /** @description Name for the device, if given. */
                device_name?: string | null;
                /**
                 * Format: int64
                 * @description When it expires.
                 */
                expires_ms: number;
                /**
                 * Format: int64
                 * @description Number.
                 */
                id: number;
                /** @description Path of the project for the device; absent for none. */
                project?: string | null;
                /** @description The device that used it. */
                used_by?: string | null;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_Project: {
            /** @description The items, in the order of the list. */
            items: {
                /**
                 * Format: int64
                 * @description Number of devices in it and below it.
                 */
                devices: number;
                /** @description Path: names joined by `/`, e.g. `acme/plant-1`. */
                path: string;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description Part of a list. */
        Page_UserInfo: {
            /** @description The items, in the order of the list. */
            items: {
                /**
                 * Format: int64
                 * @description When the user was made.
                 */
                created_ms: number;
                /** @description Whether the user is shut out. */
                disabled: boolean;
                /** @description The user's roles. Only those that the reader may see. */
                grants: components["schemas"]["Grant"][];
                /** @description Person or service. */
                kind: components["schemas"]["UserKind"];
                /**
                 * Format: int64
                 * @description The last login with a password; absent if there was none.
                 */
                last_login_ms?: number | null;
                /** @description User name. */
                name: string;
                /** @description Path of the project whose administrators manage the user; absent if only administrators of everything do. */
                project?: string | null;
            }[];
            /** @description Opaque value of `after` for the next page; absent on the last page. */
            next?: string | null;
        };
        /** @description A token without its text. */
        PairingTokenInfo: {
            /** @description User who made it. */
            created_by: string;
            /**
             * Format: int64
             * @description When it was made.
             */
            created_ms: number;
            /** @description Name for the device, if given. */
            device_name?: string | null;
            /**
             * Format: int64
             * @description When it expires.
             */
            expires_ms: number;
            /**
             * Format: int64
             * @description Number.
             */
            id: number;
            /** @description Path of the project for the device; absent for none. */
            project?: string | null;
            /** @description The device that used it. */
            used_by?: string | null;
        };
        /** @description A new password for the logged-in user. Ends that user's other sessions. */
        PasswordChange: {
            /** @description The present password. */
            current: string;
            /** @description The new one, 12 to 256 characters. */
            new: string;
        };
        /**
         * @description One thing that can be done. The name is part of the API.
         * @enum {string}
         */
        Permission: "device.read" | "telemetry.read" | "group.read" | "bundle.read" | "deployment.read" | "project.read" | "device.change" | "deployment.create" | "deployment.cancel" | "command.read" | "command.run" | "device.revoke" | "device.delete" | "device.move" | "pairing.read" | "pairing.change" | "group.change" | "bundle.change" | "audit.read" | "user.read" | "user.change" | "project.change";
        /** @description One sample. */
        Point: {
            /**
             * Format: int64
             * @description When it was measured.
             */
            at_ms: number;
            /**
             * Format: double
             * @description Value.
             */
            value: number;
        };
        /** @description An error, as problem details (RFC 9457, `application/problem+json`). */
        Problem: {
            /** @description The cause, and what to do next. */
            detail: string;
            /**
             * Format: int32
             * @description HTTP status.
             */
            status: number;
            /** @description The kind in words. */
            title: string;
            /** @description Stable name of the kind of problem, e.g. `token-expired`. */
            type: string;
        };
        /** @description A part of the fleet that is kept apart from others, such as a customer. Each device, group and bundle is in one project, or in none. */
        Project: {
            /**
             * Format: int64
             * @description Number of devices in it and below it.
             */
            devices: number;
            /** @description Path: names joined by `/`, e.g. `acme/plant-1`. */
            path: string;
        };
        /**
         * @description A set of permissions. Each role can do all that the one before it can.
         * @enum {string}
         */
        Role: "viewer" | "operator" | "maintainer" | "administrator";
        /**
         * @description State of a run.
         * @enum {string}
         */
        RunState: "waiting" | "sent" | "running" | "succeeded" | "failed" | "denied" | "invalid" | "unknown_command" | "unsupported" | "expired" | "cancelled" | "timed_out" | "interrupted" | "unanswered";
        /** @description Samples of one telemetry series, oldest first. */
        Series: {
            /** @description Name, e.g. `cpu.busy`. */
            name: string;
            /** @description The samples, averaged down to the number that the client asked for. */
            points: components["schemas"]["Point"][];
            /** @description SenML unit, empty without one. */
            unit: string;
        };
        /** @description A login that lasts until `expires_ms`. */
        Session: {
            /**
             * Format: int64
             * @description When the login ends.
             */
            expires_ms: number;
            /** @description Bearer token. The same value is set as the cookie `homeport_session`. */
            token: string;
            /** @description The user who is logged in. */
            user: components["schemas"]["User"];
        };
        /** @description A state that was entered. */
        StateChange: {
            /**
             * Format: int64
             * @description When the server learned of it.
             */
            at_ms: number;
            reason?: null | components["schemas"]["Why"];
            /** @description Slot that ran. */
            running_slot: string;
            /** @description Version that ran. */
            running_version: string;
            /** @description The state. */
            state: string;
        };
        /** @description Devices that get a deployment. The server resolves a group when it makes the deployment. */
        Target: {
            /** @description One device, by id. */
            device: string;
        } | {
            /** @description A group, by name. */
            group: string;
        };
        /** @description An update with every state that it went through. */
        UpdateHistory: components["schemas"]["DeviceUpdate"] & {
            /** @description Every state that it went through, oldest first: the first 255, and the final one. */
            history: components["schemas"]["StateChange"][];
        };
        /**
         * @description Origin of an update.
         * @enum {string}
         */
        UpdateOrigin: "deployment" | "local";
        /** @description The user who is logged in. */
        User: {
            /** @description The user's roles, or what an access token leaves of them. */
            grants: components["schemas"]["Grant"][];
            /** @description User name. */
            name: string;
            /** @description All that the user may do anywhere: what is not in it is refused everywhere. */
            permissions: components["schemas"]["Permission"][];
        };
        /** @description A user, as administrators see it. */
        UserInfo: {
            /**
             * Format: int64
             * @description When the user was made.
             */
            created_ms: number;
            /** @description Whether the user is shut out. */
            disabled: boolean;
            /** @description The user's roles. Only those that the reader may see. */
            grants: components["schemas"]["Grant"][];
            /** @description Person or service. */
            kind: components["schemas"]["UserKind"];
            /**
             * Format: int64
             * @description The last login with a password; absent if there was none.
             */
            last_login_ms?: number | null;
            /** @description User name. */
            name: string;
            /** @description Path of the project whose administrators manage the user; absent if only administrators of everything do. */
            project?: string | null;
        };
        /**
         * @description What a user is.
         * @enum {string}
         */
        UserKind: "person" | "service";
        /** @description A change to a user. */
        UserPatch: {
            /**
             * @description Shuts the user out, or lets the user in again.
             * @default null
             */
            disabled: boolean | null;
        };
        /** @description Reason why an update failed, rolled back or waits. */
        Why: {
            /**
             * @description Code for programs: `signature`, `incompatible`, `version_too_old`, `truncated`, `corrupt`, `bundle_gone`, `disk_full`, `network`,
             *     `backend`, `busy`, `health_check`, `failed_unit`, `server_unreachable`, `deadline`, `boot_failed`, `unexpected_slot`, `cancelled`,
             *     `lease`, `other`.
             */
            code: string;
            /** @description Text for people. */
            detail: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
