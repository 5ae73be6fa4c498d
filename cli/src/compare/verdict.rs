//! What is said of a comparison.

use serde::Serialize;

/// How bad it is, from nothing to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// Nothing is to be said.
    None,
    /// Good to know.
    Remark,
    /// The application has to follow the types, which diesel-postgres-hot-upgrade does.
    Handled,
    /// It breaks whatever the application does.
    Breaks,
}

/// What becomes of a type, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Same,
    Moves,
    Collides,
    Missing,
    Differs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TypeVerdict {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// As SQL writes it.
    #[serde(skip)]
    pub(crate) shown: String,
    pub(crate) kind: &'static str,
    pub(crate) extension: Option<String>,
    pub(crate) verdict: Verdict,
    pub(crate) severity: Severity,
    pub(crate) moves: bool,
    pub(crate) old: Oids,
    pub(crate) new: Option<Oids>,
    pub(crate) collisions: Vec<Collision>,
    pub(crate) differences: Vec<Difference>,
    /// Of the old server.
    pub(crate) columns: Vec<String>,
    pub(crate) functions: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Oids {
    #[serde(rename = "oid")]
    pub(crate) ty: u32,
    /// 0 if it has none.
    #[serde(rename = "array_oid")]
    pub(crate) array: u32,
}

/// An OID of the old server that is another type's on the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Collision {
    pub(crate) oid: u32,
    /// Is it the OID of the type's array?
    pub(crate) of_array: bool,
    /// What the new server calls that OID.
    pub(crate) names: String,
    /// Are the two comparable? Then answers may be wrong without an error.
    pub(crate) silent: bool,
    pub(crate) why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) breaks: bool,
    pub(crate) text: String,
}

/// Something else that applications trip over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) about: &'static str,
    pub(crate) severity: Severity,
    pub(crate) text: String,
    pub(crate) objects: Vec<String>,
}

/// Collects findings.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn breaks(&mut self, about: &'static str, text: impl Into<String>, objects: Vec<String>) {
        self.0.push(Finding { about, severity: Severity::Breaks, text: text.into(), objects });
    }

    pub(crate) fn remark(&mut self, about: &'static str, text: impl Into<String>, objects: Vec<String>) {
        self.0.push(Finding { about, severity: Severity::Remark, text: text.into(), objects });
    }

    /// Nothing if no object is concerned.
    pub(crate) fn breaks_if_any(&mut self, about: &'static str, text: impl Into<String>, objects: Vec<String>) {
        if !objects.is_empty() {
            self.breaks(about, text, objects);
        }
    }

    /// Nothing if no object is concerned.
    pub(crate) fn remark_if_any(&mut self, about: &'static str, text: impl Into<String>, objects: Vec<String>) {
        if !objects.is_empty() {
            self.remark(about, text, objects);
        }
    }
}
