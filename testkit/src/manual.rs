//! Manual pages of programs whose command line is clap's: one page a program, all its commands in it.

use std::{fmt::Write as _, fs, path::Path};

use clap::Command;
use clap_mangen::Man;

/// With this variable in the environment, pages are written instead of compared: `./just man`.
const WRITE: &str = "HOMEPORT_WRITE_MAN";

/// The page of `program` in `section`.
pub fn page(program: Command, section: &str) -> String {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let man = Man::new(program.clone());
    // Without date and version, a page changes only when the command line does.
    let mut page = format!(".TH {} {section} \"\" \"\" \"Homeport\"\n", program.get_name());
    page += &text(|out| man.render_name_section(out));
    let _ = writeln!(page, ".SH SYNOPSIS\n{}", usage(&program));
    page += &text(|out| {
        man.render_description_section(out)?;
        man.render_options_section(out)
    });
    page += ".SH COMMANDS\n";
    for command in program.get_subcommands() {
        add(&mut page, command);
    }
    page + &text(|out| man.render_extra_section(out)).replace(".SH EXTRA", ".SH NOTES")
}

/// Compares `page` with what is in `path`.
pub fn is_current(path: &Path, page: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, page).unwrap();
    }
    let present = fs::read_to_string(path).unwrap_or_default();
    assert!(
        present == page,
        "{} is not current: run `./just man`",
        path.display()
    );
}

/// A section for each command that does something.
fn add(page: &mut String, command: &Command) {
    if command.is_hide_set() {
        return;
    }
    if !command.is_subcommand_required_set() {
        let name = command.get_bin_name().unwrap_or(command.get_name());
        // What every command has is in the first section.
        let own = command.clone().mut_args(|argument| {
            let is_common = argument.is_global_set() || argument.get_id() == "help";
            argument.hide(is_common)
        });
        let _ = writeln!(page, ".SS \"{name}\"\n{}", usage(command));
        let man = Man::new(own);
        for section in [
            text(|out| man.render_description_section(out)),
            text(|out| man.render_options_section(out)),
            text(|out| man.render_extra_section(out)),
        ] {
            let (_heading, content) = section.split_once('\n').unwrap_or_default();
            if !content.is_empty() {
                let _ = write!(page, ".PP\n{content}");
            }
        }
    }
    for inner in command.get_subcommands() {
        add(page, inner);
    }
}

/// How a command is called, line by line.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let lines: Vec<_> = usage
        .trim_start_matches("Usage:")
        .lines()
        .map(|line| line.trim().replace('-', "\\-"))
        .collect();
    lines.join("\n.br\n")
}

/// What is rendered, without the definition of an apostrophe that every piece begins with.
fn text(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "))
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .replace("\\*(Aq", "\\(aq")
}
