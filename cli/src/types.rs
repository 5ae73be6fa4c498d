//! The catalog as the library sees it, and what `track` would need.

use std::process::ExitCode;

use serde::Serialize;

use crate::args::Types;
use crate::catalog::{Catalog, Column, Reader, Server, Type, quoted};
use crate::compare::{JSON_VERSION, Uses, kind};
use crate::connect::Url;
use crate::error::Error;
use crate::progress::Progress;
use crate::report::{self, Words, table};

#[derive(Debug, Serialize)]
struct Listing {
    version: u32,
    server_version: String,
    database: String,
    role: String,
    types: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    schema: String,
    name: String,
    #[serde(skip)]
    shown: String,
    kind: &'static str,
    extension: Option<String>,
    oid: u32,
    array_oid: u32,
    /// Does the session find it by its bare name?
    visible: bool,
    columns: Vec<String>,
    /// The line of Rust that tracks it.
    track: String,
}

/// The subcommand.
pub(crate) fn run(task: &Types) -> Result<ExitCode, Error> {
    let url = Url::given(task.url.as_deref(), "the server")?;
    let progress = Progress::start();
    let mut reader = Reader::open(&url, "the server", Some(progress.steps()))?;
    let visible = reader.visible_types()?;
    reader.settle()?;
    let (types, columns) = (reader.types()?, reader.columns()?);
    let server = std::mem::take(&mut reader.server);
    let unseen = std::mem::take(&mut reader.unseen);
    reader.end()?;
    drop(progress);
    if let Some(unseen) = unseen.first() {
        return Err(Error::Unavailable(format!("{}: {}", unseen.what, unseen.why)));
    }
    let listing = list(&server, types.unwrap_or_default(), columns.unwrap_or_default(), &visible);
    if task.json {
        report::json(&listing)?
    } else {
        report::write(&text(&server, &listing))?
    }
    Ok(ExitCode::SUCCESS)
}

fn list(server: &Server, types: Vec<Type>, columns: Vec<Column>, visible: &[u32]) -> Listing {
    let catalog = Catalog { types: Some(types), columns: Some(columns), ..Catalog::default() };
    let uses = Uses::of(&catalog);
    let mut types: Vec<_> = catalog.types.iter().flatten().filter(|ty| ty.watched).collect();
    types.sort_by_key(|ty| (&ty.schema, &ty.name));
    let types = types.into_iter().map(|ty| {
        let is_visible = visible.contains(&ty.oid);
        Listed {
            schema: ty.schema.clone(),
            name: ty.name.clone(),
            shown: ty.qualified(),
            kind: kind(ty),
            extension: ty.extension.clone(),
            oid: ty.oid,
            array_oid: ty.array,
            visible: is_visible,
            columns: uses.columns(ty),
            track: track(ty, is_visible),
        }
    });
    Listing {
        version: JSON_VERSION,
        server_version: server.version.clone(),
        database: server.database.clone(),
        role: server.role.clone(),
        types: types.collect(),
    }
}

/// With the Rust type that Diesel, this project's library, or `diesel print-schema` has for it.
fn track(ty: &Type, is_visible: bool) -> String {
    let rust = match (ty.extension.as_deref(), ty.name.as_str()) {
        (Some("citext"), "citext") => "diesel::sql_types::Citext".to_owned(),
        (Some("hstore"), "hstore") => "diesel_postgres_hot_upgrade::hstore::Hstore".to_owned(),
        (_, name) if is_visible => format!("crate::schema::sql_types::{}", camel(name)),
        (_, name) => format!("crate::schema::{}::sql_types::{}", identifier(&ty.schema), camel(name)),
    };
    format!("track::<{rust}>();")
}

/// A line of `track`, or several if it is too long: as rustfmt breaks it, and between the parts of the path.
fn broken(track: &str) -> String {
    if track.chars().count() <= 80 {
        return format!("{track}\n");
    }
    let path = track.trim_start_matches("track::<").trim_end_matches(">();");
    let mut lines = vec![String::from("    ")];
    for (number, part) in path.split("::").enumerate() {
        let part = if number == 0 { part.to_owned() } else { format!("::{part}") };
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last + part.chars().count() > 80 {
            lines.push(String::from("        "));
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(&part);
        }
    }
    format!("track::<\n{},\n>();\n", lines.join("\n"))
}

/// As `diesel print-schema` names types.
fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    });
    words.collect()
}

fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

fn text(server: &Server, listing: &Listing) -> String {
    let count = listing.types.len();
    let are = if count == 1 { "is" } else { "are" };
    let mut text = report::wrapped(&report::one_line(&server.shown()), "", "  ");
    text += &format!("{} {are} watched\n", report::counted(count as u64, "type"));
    if listing.types.is_empty() {
        return text + "\nNothing needs `track`: there are only built-in types.\n";
    }
    let rows = listing.types.iter().map(|ty| {
        let found = if ty.visible { "" } else { "\nby its schema only" };
        let uses = match ty.columns.len() {
            0 => "no column".to_owned(),
            1..=3 => ty.columns.join("\n"),
            count => format!("{}\nand {} more", ty.columns[..2].join("\n"), count - 2),
        };
        let from = ty.extension.as_deref().map(|name| format!("\nof {}", quoted(name))).unwrap_or_default();
        vec![
            Words::plain(format!("{}{found}", ty.shown)),
            Words::plain(format!("{}{from}", ty.kind)),
            Words::plain(ty.oid.to_string()),
            Words::plain(if ty.array_oid == 0 { "none".to_owned() } else { ty.array_oid.to_string() }),
            Words::plain(uses),
        ]
    });
    text += &table(&["type", "kind", "OID", "array", "used by"], rows.collect());
    let used: Vec<_> = listing.types.iter().filter(|ty| !ty.columns.is_empty()).collect();
    if used.is_empty() {
        return text + "\nNothing needs `track`: no column uses any of them.\n";
    }
    text += "\nIf the application binds no others, this watches only what columns use\n\
             (names as `diesel print-schema` chooses them):\n\n";
    text += "use diesel_postgres_hot_upgrade::track;\n\n";
    for ty in used {
        text += &report::clean(&broken(&ty.track));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_tracked_by_its_rust_name() {
        let ty = |name: &str, extension: Option<&str>| Type {
            schema: "my shop".into(),
            name: name.into(),
            extension: extension.map(str::to_owned),
            ..Type::default()
        };
        assert_eq!(track(&ty("citext", Some("citext")), true), "track::<diesel::sql_types::Citext>();");
        assert_eq!(track(&ty("order_state", None), true), "track::<crate::schema::sql_types::OrderState>();");
        let other = track(&ty("order_state", None), false);
        assert_eq!(other, "track::<crate::schema::my_shop::sql_types::OrderState>();");
    }

    #[test]
    fn a_line_that_is_too_long_is_broken_as_rust_allows_it() {
        assert_eq!(broken("track::<a::B>();"), "track::<a::B>();\n");
        let name = "N".repeat(63);
        let long = broken(&format!("track::<crate::schema::{name}::sql_types::{name}>();"));
        let expected = format!(
            "track::<\n    crate::schema\n        ::{name}\n        ::sql_types\n        ::{name},\n>();\n"
        );
        assert_eq!(long, expected);
    }
}
