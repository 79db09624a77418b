//! Names of streams on the server. What stands before the first dash is the server's category.

use std::borrow::Cow;

use domain::event::AGGREGATES;
use domain::ids::CompanyId;
use uuid::Uuid;

use super::claims::Claimed;
use crate::envelope::StreamId;
use crate::store::Filter;

/// How all of one log's names begin, so that logs can share a server.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    /// Names beginning with `prefix`.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// `<prefix>.<aggregate>-<company>.<id>`; `None` for an aggregate that no name can be made of.
    pub(super) fn of_stream(&self, stream: &StreamId) -> Option<String> {
        let StreamId { company, aggregate, id } = stream;
        let fits = !aggregate.is_empty() && !aggregate.contains('-');
        fits.then(|| format!("{}.{aggregate}-{}.{id}", self.prefix, company.0))
    }

    /// The stream of a name.
    pub(super) fn stream(&self, name: &str) -> Option<StreamId> {
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let (aggregate, rest) = rest.split_once('-')?;
        let (company, id) = rest.split_once('.')?;
        let company = CompanyId(Uuid::parse_str(company).ok()?);
        let id = Uuid::parse_str(id).ok()?;
        Some(StreamId { company, aggregate: Cow::Owned(aggregate.to_owned()), id })
    }

    /// How the names of the streams that a filter lets through begin.
    pub(super) fn prefixes(&self, filter: &Filter) -> Vec<String> {
        let of_tenant = filter.company.map(|company| format!("{}.", company.0)).unwrap_or_default();
        let named = |name: &str| format!("{}.{name}-{of_tenant}", self.prefix);
        match (filter.aggregates.as_slice(), filter.company) {
            ([], None) => vec![format!("{}.", self.prefix)],
            ([], Some(_)) => AGGREGATES.iter().copied().map(named).collect(),
            (wanted, _) => {
                let wanted = wanted.iter().map(String::as_str).filter(|name| !name.contains('-'));
                wanted.map(named).collect()
            }
        }
    }

    /// The stream in which a key is reserved.
    pub(super) fn of_claim(&self, claim: &Claimed) -> String {
        format!("{}_claim-{}", self.prefix, claim.digest())
    }

    /// The stream that is written to for nothing but the server's time.
    pub(super) fn of_clock(&self) -> String {
        format!("{}_clock-0", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_found_by_its_name() {
        let names = Names::new("colloquy");
        let stream = StreamId::new(CompanyId(Uuid::from_u128(7)), "ai_call", Uuid::from_u128(9));
        let name = names.of_stream(&stream).expect("a name");
        assert!(name.starts_with("colloquy.ai_call-00000000-0000-"), "{name}");
        assert_eq!(names.stream(&name), Some(stream.clone()));
        for foreign in ["", "colloquy", "colloquy.x", "colloquy.x-y.z", "other.ai_call-1.2"] {
            assert_eq!(names.stream(foreign), None);
        }
        assert_eq!(Names::new("colloquy.ai").stream(&name), None);
        let dashed = StreamId { aggregate: "ai-call".into(), ..stream };
        assert_eq!(names.of_stream(&dashed), None);
    }

    #[test]
    fn a_tenants_streams_are_told_by_how_their_names_begin() {
        let names = Names::new("colloquy");
        let of = |company: u128, aggregate: &'static str| {
            let company = CompanyId(Uuid::from_u128(company));
            names.of_stream(&StreamId::new(company, aggregate, Uuid::from_u128(9))).expect("a name")
        };
        let company = Some(CompanyId(Uuid::from_u128(7)));
        for (aggregates, found) in [(vec![], 3), (vec!["job".to_owned()], 1)] {
            let prefixes = names.prefixes(&Filter { company, aggregates });
            let begins = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let ours = [of(7, "job"), of(7, "ai_call"), of(7, "verdict")];
            assert_eq!(ours.iter().filter(|name| begins(name)).count(), found);
            assert!(!begins(&of(8, "job")), "{prefixes:?}");
        }
    }
}
