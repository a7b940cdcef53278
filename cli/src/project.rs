//! Projects: parts of the fleet that are kept apart.

use homeport_api::{NewProject, Project};

use crate::{
    api_path::ApiPath,
    args::ProjectCommand,
    error::Result,
    output::{Output, Table, cell},
    stored_login::StoredLogin,
};

/// `homeport project`
pub(crate) fn run(command: Option<ProjectCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(ProjectCommand::List) {
        ProjectCommand::List => list(&client.list(&projects())?, output),
        ProjectCommand::Create { project } => {
            let project: Project = client.post(&projects(), &NewProject { path: project })?;
            if output.json {
                return output.json(&project);
            }
            output.note(format_args!("Project {} is made.", project.path));
            Ok(())
        }
        ProjectCommand::Delete { project } => {
            client.delete(&projects().join(&project))?;
            output.note(format_args!("Project {project} is deleted."));
            Ok(())
        }
    }
}

fn list(projects: &[Project], output: Output) -> Result<()> {
    if output.json {
        return output.json(&projects);
    }
    let mut table = Table::new(&["PROJECT", "DEVICES"]);
    for project in projects {
        table.row([cell(&project.path), cell(project.devices.to_string())]);
    }
    output.table(&table, "No projects. Make one with `homeport project create`.")
}

fn projects() -> ApiPath {
    ApiPath::new("projects")
}
