//! Parentheses: all of hstore's operators but `-` bind equally, from the left. Diesel's own are not for others to use.

use diesel::AppearsOnTable;
use diesel::expression::{Expression, SelectableExpression, ValidGrouping};
use diesel::internal::operators_macro::FieldAliasMapper;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_source::{Alias, AliasSource};

#[doc(hidden)]
#[derive(Debug, Clone, Copy, QueryId, ValidGrouping)]
pub struct Grouped<T>(pub(super) T);

impl<T: Expression> Expression for Grouped<T> {
    type SqlType = T::SqlType;
}

impl<T: QueryFragment<Pg>> QueryFragment<Pg> for Grouped<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<T, QS> SelectableExpression<QS> for Grouped<T>
where
    T: SelectableExpression<QS>,
    Grouped<T>: AppearsOnTable<QS>,
{
}

impl<T, QS> AppearsOnTable<QS> for Grouped<T>
where
    T: AppearsOnTable<QS>,
    Grouped<T>: Expression,
{
}

impl<S: AliasSource, T: FieldAliasMapper<S>> FieldAliasMapper<S> for Grouped<T> {
    type Out = Grouped<T::Out>;

    fn map(self, alias: &Alias<S>) -> Self::Out {
        Grouped(self.0.map(alias))
    }
}
