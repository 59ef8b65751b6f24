//! The response of `ExplainMembership`: why a product is or is not in a smart collection.

use super::{encode, pb};
use crate::{
    domain::{
        Combinator,
        rules::{Explained, Explanation},
    },
    service::{Because, Membership},
};

/// How many values of the product a response shows in total.
const MAX_VALUES: usize = 1_000;

pub(super) fn membership(membership: Membership) -> pb::ExplainMembershipResponse {
    let reason = match membership.because {
        Because::Match => pb::MembershipReason::Match,
        Because::NoMatch => pb::MembershipReason::NoMatch,
        Because::Include => pb::MembershipReason::Include,
        Because::Exclude => pb::MembershipReason::Exclude,
    };
    let mut left = MAX_VALUES;
    pb::ExplainMembershipResponse {
        is_member: membership.is_member,
        reason: reason.into(),
        is_registered: membership.rules.is_some(),
        pinned_index: membership.pinned.map(encode::count),
        rules: membership.rules.map(|rules| verdict(rules, &mut left)),
        ignored_attribute_paths: membership.ignored,
    }
}

/// The verdict on a rule. `left` is how many more values may be shown.
fn verdict(explanation: Explanation, left: &mut usize) -> pb::RuleVerdict {
    use pb::rule_verdict::Rule as Wire;
    let rule = match explanation.rule {
        Explained::Condition {
            condition,
            mut values,
            count,
            mistyped,
        } => {
            values.truncate(*left);
            *left -= values.len();
            Wire::Condition(pb::ConditionVerdict {
                condition: Some(encode::condition(&condition)),
                values,
                value_count: encode::count(count as u64),
                mistyped_count: encode::count(mistyped as u64),
            })
        }
        Explained::Group {
            combinator,
            row,
            rules,
        } => {
            let rules = rules.into_iter().map(|rule| verdict(rule, left));
            let group = pb::RuleGroupVerdict {
                rules: rules.collect(),
                row: row.map(|row| encode::count(row as u64)),
            };
            match combinator {
                Combinator::All => Wire::AllOf(group),
                Combinator::Any => Wire::AnyOf(group),
                Combinator::None => Wire::NoneOf(group),
            }
        }
    };
    pb::RuleVerdict {
        holds: explanation.holds,
        rule: Some(rule),
    }
}
