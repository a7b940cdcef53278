//! Every message survives encoding, damage is an error and never a panic, and what is unknown is tolerated.

use ciborium::cbor;
use homeport_protocol::{
    BundleOffer, Command, CommandOffer, DeploymentState, FailureCode, Inventory, Policy, Reason, Record,
    Report, Sequenced, Slot,
    command::{Call, Cancel, Deploy, Envelope, Stop},
    deployment::Progress,
    limits::{
        MAX_CAPABILITIES, MAX_CAPABILITY, MAX_COMMAND_ID, MAX_COMMANDS, MAX_OUTPUT, MAX_PAYLOAD, MAX_RESULT,
    },
    report::{
        CallBegun, CallEnded, CallOutput, Cause, DeploymentReport, LocalInstall, NotRun, Outcome, Stream,
    },
    senml::Pack,
};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,24}"
}

fn state() -> impl Strategy<Value = DeploymentState> {
    use DeploymentState as S;
    prop::sample::select(vec![
        S::Offered,
        S::Waiting,
        S::Downloading,
        S::Installing,
        S::Installed,
        S::Rebooting,
        S::Trial,
        S::Verified,
        S::RolledBack,
        S::Failed,
        S::Cancelled,
        S::Unknown,
    ])
}

fn reason() -> impl Strategy<Value = Reason> {
    use FailureCode as C;
    let code = prop::sample::select(vec![
        C::Signature,
        C::Incompatible,
        C::VersionTooOld,
        C::Truncated,
        C::Corrupt,
        C::BundleGone,
        C::DiskFull,
        C::Network,
        C::Backend,
        C::Busy,
        C::HealthCheck,
        C::FailedUnit,
        C::ServerUnreachable,
        C::Deadline,
        C::BootFailed,
        C::UnexpectedSlot,
        C::Cancelled,
        C::Lease,
        C::Other,
    ]);
    (code, text()).prop_map(|(code, detail)| Reason::new(code, detail))
}

fn offer() -> impl Strategy<Value = BundleOffer> {
    (
        text(),
        any::<u64>(),
        text(),
        text(),
        text(),
        prop::option::of(text()),
    )
        .prop_map(
            |(id, size, path, version, compatible, manifest_hash)| BundleOffer {
                id,
                size,
                path,
                version,
                compatible,
                manifest_hash,
            },
        )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (any::<u64>(), offer())
            .prop_map(|(deployment, bundle)| Command::Deploy(Deploy { deployment, bundle })),
        any::<u64>().prop_map(|deployment| Command::Cancel(Cancel { deployment })),
        Just(Command::Inventory),
        (text(), text(), any::<u32>()).prop_map(|(name, arguments, timeout_s)| {
            Command::Call(Call {
                name,
                arguments,
                timeout_s,
            })
        }),
        text().prop_map(|call| Command::Stop(Stop { call })),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (
        prop::option::of("[a-z0-9-]{1,64}"),
        prop::option::of(any::<i64>()),
        command(),
    )
        .prop_map(|(id, expires_ms, command)| Envelope {
            id,
            expires_ms,
            command,
        })
}

fn slot() -> impl Strategy<Value = Slot> {
    (text(), text(), text(), text(), text(), text()).prop_map(
        |(name, bootname, state, boot_status, version, installed_at)| Slot {
            name,
            bootname,
            state,
            boot_status,
            version,
            installed_at,
        },
    )
}

fn inventory() -> impl Strategy<Value = Inventory> {
    (
        text(),
        text(),
        prop::option::of(text()),
        prop::option::of(text()),
        prop::collection::vec(slot(), 0..4),
        prop::collection::vec(text(), 0..4),
    )
        .prop_map(
            |(agent_version, os, serial, model, slots, capabilities)| Inventory {
                agent_version,
                os,
                serial,
                model,
                slots,
                capabilities: capabilities
                    .into_iter()
                    .map(|kind| kind.chars().take(8).collect())
                    .collect(),
                ..Inventory::default()
            },
        )
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        inventory().prop_map(Report::Inventory),
        (
            any::<u64>(),
            state(),
            prop::option::of(reason()),
            text(),
            text(),
            any::<u64>(),
            any::<i64>()
        )
            .prop_map(
                |(deployment, state, reason, running_version, running_slot, bytes_fetched, at_ms)| {
                    Report::Deployment(DeploymentReport {
                        deployment,
                        state,
                        reason,
                        running_version,
                        running_slot,
                        bytes_fetched,
                        at_ms,
                    })
                }
            ),
        (text(), text(), any::<bool>(), text(), text(), any::<i64>()).prop_map(
            |(slot, version, succeeded, detail, transaction, at_ms)| {
                Report::LocalInstall(LocalInstall {
                    slot,
                    version,
                    succeeded,
                    detail,
                    transaction,
                    at_ms,
                })
            }
        ),
        (text(), prop::option::of(text())).prop_map(|(command, id)| Report::Unsupported { command, id }),
        (
            text(),
            prop::option::of(text()),
            any::<bool>(),
            text(),
            any::<i64>()
        )
            .prop_map(|(command, id, expired, detail, at_ms)| {
                Report::NotRun(NotRun {
                    command,
                    id,
                    cause: if expired { Cause::Expired } else { Cause::TooMany },
                    detail,
                    at_ms,
                })
            }),
        call_report(),
    ]
}

fn call_report() -> impl Strategy<Value = Report> {
    let outcome = prop::sample::select(vec![
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Denied,
        Outcome::Invalid,
        Outcome::UnknownCommand,
        Outcome::Cancelled,
        Outcome::TimedOut,
        Outcome::Interrupted,
    ]);
    let data = prop::collection::vec(any::<u8>(), 0..64);
    let ended = (
        text(),
        prop::option::of(any::<u64>()),
        outcome,
        text(),
        prop::option::of(any::<i32>()),
        prop::option::of(text()),
        any::<u64>(),
    );
    prop_oneof![
        (text(), any::<u64>(), any::<i64>()).prop_map(|(id, run, at_ms)| Report::CallBegun(CallBegun {
            id,
            run,
            at_ms
        })),
        (text(), any::<u64>(), any::<bool>(), data).prop_map(|(id, run, is_error, data)| {
            Report::CallOutput(CallOutput {
                id,
                run,
                stream: if is_error { Stream::Stderr } else { Stream::Stdout },
                data,
            })
        }),
        ended.prop_map(|(id, run, outcome, detail, exit_status, result, dropped_bytes)| {
            Report::CallEnded(CallEnded {
                id,
                run,
                outcome,
                detail,
                exit_status,
                result,
                dropped_bytes,
                at_ms: 7,
            })
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let number = || prop::option::of(-1e12..1e12);
    (
        prop::option::of(text()),
        number(),
        prop::option::of(text()),
        prop::option::of(text()),
        number(),
        number(),
    )
        .prop_map(|(base_name, base_time, name, unit, value, time)| Record {
            base_name,
            base_time,
            name,
            unit,
            value,
            time,
            ..Record::default()
        })
}

proptest! {
    #[test]
    fn commands(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
    }

    #[test]
    fn reports(queue: u64, sequence: u64, message in report()) {
        let report = Sequenced { queue, sequence, message };
        prop_assert_eq!(Sequenced::<Report>::decode(&report.encode()).unwrap(), report);
    }

    #[test]
    fn telemetry(queue: u64, sequence: u64, records in prop::collection::vec(record(), 0..16)) {
        let telemetry = Sequenced { queue, sequence, message: Pack(records) };
        prop_assert_eq!(Sequenced::<Pack>::decode(&telemetry.encode()).unwrap(), telemetry);
    }

    #[test]
    fn progress(deployment: u64, state in state(), percent: u8, bytes_fetched: u64, message in text()) {
        let progress = Progress { deployment, state, percent, bytes_fetched, message };
        prop_assert_eq!(Progress::decode(&progress.encode()).unwrap(), progress);
    }

    #[test]
    fn damage_never_panics(report in report(), flip in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let mut bytes = Sequenced { queue: 1, sequence: 2, message: report }.encode();
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = Sequenced::<Report>::decode(&bytes);
        let _ = Sequenced::<Pack>::decode(&bytes);
        let _ = Envelope::decode(&bytes);
        let _ = Progress::decode(&bytes);
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Sequenced::<Report>::decode(&bytes);
        let _ = Sequenced::<Pack>::decode(&bytes);
        let _ = Envelope::decode(&bytes);
    }
}

#[expect(clippy::unwrap_used, reason = "a helper of tests; a panic is a failure")]
fn bytes(value: &ciborium::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn unknown_kinds_are_not_fatal() {
    let command = cbor!({ "kind" => "self-destruct", "body" => [1, 2, 3] }).unwrap();
    assert_eq!(
        Envelope::decode(&bytes(&command)).unwrap().command,
        Command::Unknown {
            kind: "self-destruct".into()
        }
    );

    let report = cbor!({ "q" => 1, "s" => 2, "m" => { "kind" => "mood", "body" => "good" } }).unwrap();
    let report = Sequenced::<Report>::decode(&bytes(&report)).unwrap();
    assert_eq!(report.message, Report::Unknown { kind: "mood".into() });
}

#[test]
fn unknown_fields_and_words_are_tolerated() {
    let report = cbor!({
        "q" => 1, "s" => 2, "new" => true,
        "m" => {
            "kind" => "deployment", "new" => 1,
            "body" => {
                "deployment" => 7, "state" => "levitating", "new" => {},
                "reason" => { "code" => "moon-phase", "detail" => "full" },
            },
        },
    })
    .unwrap();
    let Report::Deployment(report) = Sequenced::<Report>::decode(&bytes(&report)).unwrap().message else {
        panic!("not a deployment report");
    };
    assert_eq!(report.state, DeploymentState::Unknown);
    assert_eq!(report.reason.unwrap().code, FailureCode::Other);
}

#[test]
fn what_follows_a_message_is_refused() {
    let mut bytes = Envelope::from(Command::Inventory).encode();
    bytes.push(0);
    assert!(Envelope::decode(&bytes).is_err());
}

#[test]
fn deep_nesting_is_refused() {
    let mut bytes = vec![0x81; 10_000];
    bytes.push(0);
    assert!(Envelope::decode(&bytes).is_err());
}

#[test]
fn older_and_newer_servers_are_understood() {
    let cancel = Command::Cancel(Cancel { deployment: 7 });
    let older = cbor!({ "kind" => "cancel", "body" => { "deployment" => 7 } }).unwrap();
    assert_eq!(
        Envelope::decode(&bytes(&older)).unwrap(),
        Envelope::from(cancel.clone())
    );
    let newer = cbor!({
        "kind" => "cancel", "id" => "cancel-7", "expires_ms" => 1_795_294_020_000_i64, "priority" => "high",
        "body" => { "deployment" => 7 },
    })
    .unwrap();
    let expected = Envelope {
        id: Some("cancel-7".into()),
        expires_ms: Some(1_795_294_020_000),
        command: cancel,
    };
    assert_eq!(Envelope::decode(&bytes(&newer)).unwrap(), expected);
}

#[test]
fn older_and_newer_agents_are_understood() {
    let report = |message: ciborium::Value| {
        let report = cbor!({ "q" => 1, "s" => 2, "m" => message }).unwrap();
        Sequenced::<Report>::decode(&bytes(&report)).map(|report| report.message)
    };
    let older = cbor!({ "kind" => "unsupported", "body" => "fly" }).unwrap();
    let unsupported = |id| Report::Unsupported {
        command: "fly".into(),
        id,
    };
    assert_eq!(report(older).unwrap(), unsupported(None));
    // As an older server reads it, the body is still the text.
    let newer = unsupported(Some("a".into()));
    let message = ciborium::Value::serialized(&newer).unwrap();
    let expected = cbor!({ "kind" => "unsupported", "body" => "fly", "id" => "a" }).unwrap();
    assert_eq!(message, expected);

    let not_run =
        cbor!({ "kind" => "not_run", "body" => { "command" => "fly", "cause" => "rain" } }).unwrap();
    let Report::NotRun(not_run) = report(not_run).unwrap() else {
        panic!("not about a command");
    };
    assert_eq!((not_run.cause, not_run.id), (Cause::Other, None));

    let inventory = cbor!({ "kind" => "inventory", "body" => { "hostname" => "a" } }).unwrap();
    let Report::Inventory(inventory) = report(inventory).unwrap() else {
        panic!("no inventory");
    };
    assert!(inventory.capabilities.is_empty());
}

#[test]
fn ids_and_capabilities_have_limits() {
    let command = |id: String| Envelope {
        id: Some(id),
        ..Envelope::from(Command::Inventory)
    };
    for (length, is_fine) in [
        (0, false),
        (1, true),
        (MAX_COMMAND_ID, true),
        (MAX_COMMAND_ID + 1, false),
    ] {
        let payload = command("x".repeat(length)).encode();
        assert_eq!(Envelope::decode(&payload).is_ok(), is_fine, "{length}");
    }
    let inventory = |count: usize, length: usize| {
        let message = Report::Inventory(Inventory {
            capabilities: vec!["x".repeat(length); count],
            ..Inventory::default()
        });
        let report = Sequenced {
            queue: 1,
            sequence: 1,
            message,
        };
        Sequenced::<Report>::decode(&report.encode())
    };
    assert!(inventory(MAX_CAPABILITIES, MAX_CAPABILITY).is_ok());
    assert!(inventory(MAX_CAPABILITIES + 1, 1).is_err());
    assert!(inventory(1, MAX_CAPABILITY + 1).is_err());
}

#[test]
fn calls_have_limits() {
    let decode = |message: Report| {
        let report = Sequenced {
            queue: 1,
            sequence: 1,
            message,
        };
        let payload = report.encode();
        assert!(
            payload.len() <= MAX_PAYLOAD,
            "what is allowed fits into a message"
        );
        Sequenced::<Report>::decode(&payload)
    };
    let output = |length: usize| {
        decode(Report::CallOutput(CallOutput {
            id: "call-1".into(),
            run: 1,
            stream: Stream::Stdout,
            data: vec![0xff; length],
        }))
    };
    assert!(output(MAX_OUTPUT).is_ok());
    assert!(output(MAX_OUTPUT + 1).is_err());
    let ended = |length: usize| {
        decode(Report::CallEnded(CallEnded {
            id: "call-1".into(),
            run: Some(1),
            outcome: Outcome::Succeeded,
            detail: String::new(),
            exit_status: Some(0),
            result: Some("x".repeat(length)),
            dropped_bytes: 0,
            at_ms: 0,
        }))
    };
    assert!(ended(MAX_RESULT).is_ok());
    assert!(ended(MAX_RESULT + 1).is_err());
    let offers = |count: usize, length: usize| {
        decode(Report::Inventory(Inventory {
            commands: Some(vec![
                CommandOffer {
                    name: "x".repeat(length),
                    policy: Policy::Denied,
                };
                count
            ]),
            ..Inventory::default()
        }))
    };
    assert!(offers(MAX_COMMANDS, MAX_CAPABILITY).is_ok());
    assert!(offers(MAX_COMMANDS + 1, 1).is_err());
    assert!(offers(1, MAX_CAPABILITY + 1).is_err());
}
