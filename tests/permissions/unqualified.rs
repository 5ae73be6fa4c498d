//! Finds in a statement what is looked up in the search path: names of operators, functions, types and relations that
//! have no `pg_catalog`, and syntax that stands for an operator without naming it.

use super::sql_tokens::{Token, tokens};

/// What is unqualified in a message of one statement or several, in words. Empty if nothing is.
pub(crate) fn unqualified(sql: &str) -> Vec<String> {
    let tokens = match tokens(sql) {
        Ok(tokens) => tokens,
        Err(problem) => return vec![problem],
    };
    let statements = tokens.split(|token| token.is_mark(";")).filter(|statement| !statement.is_empty());
    statements.flat_map(|statement| Statement(statement).check()).collect()
}

/// What may begin a statement of the crate. Others name relations elsewhere than behind `FROM`.
const BEGINNINGS: [&str; 9] =
    ["SELECT", "WITH", "BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "DEALLOCATE"];

/// Stand for an operator, or for a name that is looked up, wherever they are.
const IMPLICIT: [&str; 20] = [
    "BETWEEN",
    "CAST",
    "EXCEPT",
    "EXTRACT",
    "GREATEST",
    "GROUP",
    "ILIKE",
    "IN",
    "INTERSECT",
    "LEAST",
    "LIKE",
    "NATURAL",
    "NULLIF",
    "OVERLAPS",
    "OVERLAY",
    "POSITION",
    "SIMILAR",
    "SUBSTRING",
    "TRIM",
    "XMLEXISTS",
];

/// May stand before a parenthesis, and are no functions.
const BEFORE_PARENTHESIS: [&str; 29] = [
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BY",
    "CASE",
    "COALESCE",
    "DISTINCT",
    "ELSE",
    "EXISTS",
    "FILTER",
    "FROM",
    "HAVING",
    "JOIN",
    "LATERAL",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "ON",
    "OPERATOR",
    "OR",
    "OVER",
    "ROW",
    "SELECT",
    "THEN",
    "VALUES",
    "WHEN",
    "WHERE",
];

struct Statement<'a>(&'a [Token]);

impl Statement<'_> {
    fn check(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !BEGINNINGS.iter().any(|word| self.0[0].is_word(word)) {
            found.push(format!("a statement that begins with {}", self.0[0]));
        }
        for at in 0..self.0.len() {
            let problems = [
                self.operator(at),
                self.implicit(at),
                self.function(at),
                self.cast(at),
                self.literal_of_a_type(at),
                self.order(at),
                self.row(at),
            ];
            found.extend(problems.into_iter().flatten());
        }
        found.extend(self.relations());
        found
    }

    fn get(&self, at: usize) -> Option<&Token> {
        self.0.get(at)
    }

    fn is_mark(&self, at: usize, mark: &str) -> bool {
        self.get(at).is_some_and(|token| token.is_mark(mark))
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.get(at).is_some_and(|token| token.is_word(word))
    }

    fn before(&self, at: usize) -> Option<&Token> {
        self.get(at.checked_sub(1)?)
    }

    /// Does `pg_catalog.` stand before it?
    fn is_qualified(&self, at: usize) -> bool {
        at >= 2 && self.is_mark(at - 1, ".") && self.is_word(at - 2, "PG_CATALOG")
    }

    /// The context, for the message.
    fn near(&self, at: usize) -> String {
        let tokens = &self.0[at.saturating_sub(3)..self.0.len().min(at + 4)];
        tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(" ")
    }

    fn operator(&self, at: usize) -> Option<String> {
        let Token::Operator(operator) = &self.0[at] else {
            return None;
        };
        let is_named =
            at >= 4 && self.is_qualified(at) && self.is_mark(at - 3, "(") && self.is_word(at - 4, "OPERATOR");
        let is_star = operator == "*" && self.is_mark(at + 1, ")") && at >= 1 && self.is_mark(at - 1, "(");
        let is_fine = is_named || is_star || (operator == "-" && self.is_sign(at));
        (!is_fine).then(|| format!("the operator in: {}", self.near(at)))
    }

    /// A negative constant is a constant. With a cast behind, it is an operator's result: `-1::pg_catalog.int2`.
    fn is_sign(&self, at: usize) -> bool {
        let is_operand_before = self.before(at).is_some_and(|before| match before {
            Token::Mark(mark) => matches!(*mark, ")" | "]") && !self.is_operators_end(at - 1),
            Token::Word(word) => !BEFORE_PARENTHESIS.contains(&word.as_str()),
            _ => true,
        });
        !is_operand_before && self.get(at + 1) == Some(&Token::Number) && !self.is_mark(at + 2, "::")
    }

    /// The parenthesis that closes `OPERATOR(`.
    fn is_operators_end(&self, at: usize) -> bool {
        at >= 1 && matches!(self.get(at - 1), Some(Token::Operator(_))) && self.is_mark(at, ")")
    }

    fn implicit(&self, at: usize) -> Option<String> {
        let Token::Word(word) = &self.0[at] else {
            return None;
        };
        let is_part_of_a_name = self.before(at).is_some_and(|before| before.is_mark("."));
        let is_implicit = match word.as_str() {
            "CASE" => !self.is_word(at + 1, "WHEN"),
            // `IS DISTINCT FROM`, `SELECT DISTINCT` and `count(DISTINCT …)` all compare.
            "DISTINCT" => true,
            "UNION" => !self.is_word(at + 1, "ALL"),
            "USING" => !self.is_word(at + 1, "OPERATOR"),
            "COLLATE" => !self.is_qualified(at + 3),
            "AT" => self.is_word(at + 1, "TIME") || self.is_word(at + 1, "LOCAL"),
            other => IMPLICIT.contains(&other),
        };
        (is_implicit && !is_part_of_a_name).then(|| format!("{word}, in: {}", self.near(at)))
    }

    fn function(&self, at: usize) -> Option<String> {
        let is_call = self.0[at].is_name() && self.is_mark(at + 1, "(");
        let is_keyword = matches!(&self.0[at], Token::Word(word) if BEFORE_PARENTHESIS.contains(&word.as_str())
            || IMPLICIT.contains(&word.as_str()) || word == "USING");
        let is_alias = self.before(at).is_some_and(|before| before.is_word("AS") || before.is_word("WITH"));
        let is_fine = is_keyword && !self.before(at).is_some_and(|before| before.is_mark("."));
        (is_call && !is_fine && !is_alias && !self.is_qualified(at))
            .then(|| format!("the function in: {}", self.near(at)))
    }

    fn cast(&self, at: usize) -> Option<String> {
        let is_cast = self.0[at].is_mark("::");
        (is_cast && !self.is_qualified(at + 3)).then(|| format!("the type in: {}", self.near(at)))
    }

    /// `oid '5'` is a cast, too.
    fn literal_of_a_type(&self, at: usize) -> Option<String> {
        let is_before_literal = self.0[at].is_name() && self.get(at + 1) == Some(&Token::Literal);
        let is_keyword = matches!(&self.0[at], Token::Word(word)
            if BEFORE_PARENTHESIS.contains(&word.as_str()) || IMPLICIT.contains(&word.as_str()));
        (is_before_literal && !is_keyword && !self.is_qualified(at))
            .then(|| format!("the type in: {}", self.near(at)))
    }

    /// Only a superuser can give a built-in type another order, so columns of the type `oid` by that name have theirs.
    fn order(&self, at: usize) -> Option<String> {
        if !(self.is_word(at, "ORDER") && self.is_word(at + 1, "BY")) {
            return None;
        }
        let mut end = at + 2;
        let mut depth = 0;
        let mut items = vec![Vec::new()];
        while let Some(token) = self.get(end) {
            depth += i32::from(token.is_mark("(")) - i32::from(token.is_mark(")"));
            let is_over = ["LIMIT", "OFFSET", "FETCH", "FOR"].iter().any(|word| token.is_word(word));
            if depth < 0 || (depth == 0 && is_over) {
                break;
            }
            if depth == 0 && token.is_mark(",") {
                items.push(Vec::new());
            } else if let Some(item) = items.last_mut() {
                item.push(token);
            }
            end += 1;
        }
        let is_ordered = |item: &Vec<&Token>| {
            let is_oid = item.iter().all(|token| {
                ["OID", "T", "N", "C", "ASC", "DESC"].iter().any(|word| token.is_word(word)) || token.is_mark(".")
            });
            let is_named = item.windows(2).any(|pair| pair[0].is_word("USING") && pair[1].is_word("OPERATOR"));
            is_named || (is_oid && item.iter().any(|token| token.is_word("OID")))
        };
        (!items.iter().all(is_ordered)).then(|| format!("the order in: {}", self.near(at + 2)))
    }

    /// `(a, b) OPERATOR(…) …` compares by further operators, of each pair's type.
    fn row(&self, at: usize) -> Option<String> {
        if !(self.is_mark(at, "(") && self.is_word(self.end_of(at) + 1, "OPERATOR")) {
            return None;
        }
        let is_call = self.before(at).is_some_and(|before| match before {
            Token::Word(word) => word == "COALESCE" || !BEFORE_PARENTHESIS.contains(&word.as_str()),
            other => other.is_name(),
        });
        (!is_call && !self.is_word(at + 1, "SELECT") && self.has_comma(at))
            .then(|| format!("the comparison of rows in: {}", self.near(at)))
    }

    /// Where the parenthesis ends.
    fn end_of(&self, at: usize) -> usize {
        let mut depth = 0;
        for (index, token) in self.0.iter().enumerate().skip(at) {
            depth += i32::from(token.is_mark("(")) - i32::from(token.is_mark(")"));
            if depth == 0 {
                return index;
            }
        }
        self.0.len()
    }

    fn has_comma(&self, at: usize) -> bool {
        let mut depth = 0;
        self.0[at..self.end_of(at)].iter().any(|token| {
            depth += i32::from(token.is_mark("(") || token.is_mark("["));
            depth -= i32::from(token.is_mark(")") || token.is_mark("]"));
            depth == 1 && token.is_mark(",")
        })
    }

    /// What follows `FROM`, `JOIN`, or a comma in a list of relations: a catalog, a query, or the name of a CTE.
    fn relations(&self) -> Vec<String> {
        const ENDS: [&str; 9] = ["WHERE", "ORDER", "GROUP", "HAVING", "LIMIT", "UNION", "OFFSET", "FOR", "WINDOW"];
        let mut found = Vec::new();
        // For each open parenthesis: is it in a list of relations?
        let mut lists = vec![false];
        for (at, token) in self.0.iter().enumerate() {
            let is_list = lists.last().copied().unwrap_or_default();
            let begins = token.is_word("FROM") || token.is_word("JOIN") || (is_list && token.is_mark(","));
            if token.is_mark("(") {
                lists.push(false);
            } else if token.is_mark(")") {
                lists.pop();
            } else if let Some(list) = lists.last_mut() {
                *list = begins || (*list && !ENDS.iter().any(|word| token.is_word(word)));
            }
            if begins && !self.is_known_relation(at + 1) {
                found.push(format!("the relation in: {}", self.near(at + 1)));
            }
        }
        found
    }

    fn is_known_relation(&self, at: usize) -> bool {
        let at = at + usize::from(self.is_word(at, "ONLY") || self.is_word(at, "LATERAL"));
        let is_cte = !self.is_mark(at + 1, ".")
            && (1..self.0.len()).any(|index| {
                let begins = self.is_word(index - 1, "WITH") || self.is_mark(index - 1, ",");
                begins
                    && self.get(index) == self.get(at)
                    && self.is_word(index + 1, "AS")
                    && self.is_mark(index + 2, "(")
            });
        self.is_mark(at, "(") || self.is_qualified(at + 2) || is_cte
    }
}

#[cfg(test)]
#[path = "unqualified_tests.rs"]
mod tests;
