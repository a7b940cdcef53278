//! What can be typed about users, projects and access tokens.

use clap::{
    Args, Subcommand,
    builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser},
};
use homeport_api::Role;

use super::Sure;

const CREATE_USER_HELP: &str = "\
A person's password goes to stdout, everything else to stderr. A service has no password: it uses access tokens.

Examples:
  homeport user create mia
  homeport user create acme-ci --service --project acme";

const GRANT_HELP: &str = "\
Without --project and --group the role is on everything. It replaces the role that the user has there.

  viewer         sees devices, telemetry, groups, bundles, deployments
  operator       also renames devices, deploys, cancels
  maintainer     also pairs, revokes, deletes and moves devices, changes groups
                 and bundles, reads the audit record
  administrator  also changes users, roles and projects

Examples:
  homeport user grant mia operator --project acme/plant-1
  homeport user grant tom viewer --group acme/pilot";

const ACCESS_TOKEN_HELP: &str = "\
The token goes to stdout, everything else to stderr. It can do no more than its user, and than its own role.

Examples:
  homeport access-token create --name laptop --role viewer
  homeport access-token create --user acme-ci --name pipeline --role operator --days 30

Used with HOMEPORT_URL, HOMEPORT_CA_FINGERPRINT and HOMEPORT_TOKEN in the environment.";

#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: Option<UserCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List users.
    List,
    /// Show a user and the user's roles.
    Show {
        /// Name of the user.
        user: String,
    },
    /// Make a user, who can do nothing until a role is granted; a password is shown this one time only.
    #[command(after_help = CREATE_USER_HELP)]
    Create {
        /// 1 to 64 of a-z, A-Z, 0-9 and . _ - @.
        user: String,
        /// A program: with access tokens, and without a password.
        #[arg(long)]
        service: bool,
        /// Project whose administrators manage the user, too.
        #[arg(long, value_name = "PROJECT", value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
    },
    /// Let a user in again.
    Enable {
        /// Name of the user.
        user: String,
    },
    /// Shut a user out, and keep the roles for later.
    Disable {
        /// Name of the user.
        user: String,
    },
    /// Delete a user with all roles and access tokens.
    Delete {
        /// Name of the user.
        user: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Give a user a new password, which is shown this one time only; the old one ends.
    ResetPassword {
        /// Name of the user.
        user: String,
    },
    /// Give a user a role.
    #[command(after_help = GRANT_HELP)]
    Grant {
        /// Name of the user.
        user: String,
        /// The role.
        #[arg(value_parser = role())]
        role: Role,
        #[command(flatten)]
        place: Place,
    },
    /// Take a user's role away: the one on everything, or on this project or group.
    Revoke {
        /// Name of the user.
        user: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where a role holds.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Place {
    /// On this project and all projects below it.
    #[arg(long, value_name = "PROJECT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) project: Option<String>,
    /// On the devices of this group.
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Project {
    #[command(subcommand)]
    pub(crate) command: Option<ProjectCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// List projects.
    List,
    /// Make a project.
    Create {
        /// 1 to 4 names of a-z, 0-9 and -, joined by /, e.g. acme/plant-1; the project above it exists.
        project: String,
    },
    /// Delete a project that is empty.
    Delete {
        /// Path of the project.
        project: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AccessToken {
    #[command(subcommand)]
    pub(crate) command: Option<AccessTokenCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessTokenCommand {
    /// List access tokens.
    List {
        #[command(flatten)]
        owner: Owner,
    },
    /// Make an access token, which is shown this one time only.
    #[command(after_help = ACCESS_TOKEN_HELP)]
    Create {
        #[command(flatten)]
        owner: Owner,
        /// What it is for, 1 to 64 characters.
        #[arg(long)]
        name: String,
        /// The most that it can do.
        #[arg(long, value_parser = role())]
        role: Role,
        /// How many days it lasts, 1 to 366.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
        /// Only in this project and the projects below it.
        #[arg(long, value_name = "PROJECT", value_parser = NonEmptyStringValueParser::new())]
        project: Option<String>,
    },
    /// Revoke an access token: it ends at once.
    Revoke {
        /// Number of the access token.
        id: u64,
        #[command(flatten)]
        owner: Owner,
    },
}

/// Whose access tokens.
#[derive(Debug, Args)]
pub(crate) struct Owner {
    /// Of this service instead of your own.
    #[arg(long, value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|name| {
        let mut roles = Role::ALL.into_iter();
        roles
            .find(|role| role.as_str() == name)
            .ok_or("there is no such role")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn every_role_can_be_granted_in_one_place_at_a_time() {
        for wanted in Role::ALL {
            let cli = parse(&format!("homeport user grant mia {wanted} --project acme")).unwrap();
            let Command::User(User {
                command: Some(UserCommand::Grant { role, place, .. }),
            }) = cli.command
            else {
                panic!("not a grant");
            };
            assert_eq!((role, place.project.as_deref()), (wanted, Some("acme")));
        }
        assert!(parse("homeport user grant mia root").is_err());
        assert!(parse("homeport user grant mia viewer --project a --group b").is_err());
        assert!(parse("homeport user revoke mia").is_ok());
    }

    /// To the server it is everything, and a script's variable may be empty.
    #[test]
    fn an_empty_project_is_not_everything() {
        for line in [
            "user grant mia operator",
            "user revoke mia",
            "user create mia",
            "access-token create --name ci --role viewer",
            "token create",
            "bundle upload x.raucb",
            "bundle delete 1.0",
            "devices",
        ] {
            let with = |project| {
                let words = ["homeport"].into_iter().chain(line.split(' '));
                Cli::try_parse_from(words.chain(["--project", project]))
            };
            assert!(with("acme").is_ok(), "{line}");
            assert!(with("").is_err(), "{line}");
        }
        assert!(Cli::try_parse_from(["homeport", "device", "move", "gate", ""]).is_err());
    }

    #[test]
    fn an_access_token_lasts_at_most_a_year() {
        let create = "homeport access-token create --name ci --role operator";
        assert!(parse(create).is_ok());
        for days in ["0", "367", "-1"] {
            assert!(parse(&format!("{create} --days {days}")).is_err(), "{days}");
        }
        assert!(parse("homeport access-token create --name ci").is_err());
    }
}
