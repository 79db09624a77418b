//! Which rows a caller's scope reaches, as conditions on the tables. Rights add up.

use domain::ids::{CandidateId, InterviewId, MemberId};

use crate::applications::Applications;
use crate::candidates::Candidates;
use crate::interviews::Interviews;
use crate::jobs::Jobs;
use crate::projector::Projector;
use crate::query::{Sql, View};

/// How one table answers the parts of a scope.
struct Parts<'a> {
    assigned: &'a dyn Fn(&mut Sql, MemberId),
    jobs: &'a dyn Fn(&mut Sql, MemberId),
    interview: &'a dyn Fn(&mut Sql, InterviewId),
    candidate: &'a dyn Fn(&mut Sql, CandidateId),
}

fn restrict(sql: &mut Sql, view: &View, table: &str, parts: &Parts<'_>) {
    company(sql, view, table);
    let scope = &view.scope;
    if scope.all {
        return;
    }
    sql.push(" and (false");
    if let Some(member) = scope.assigned_to {
        sql.push(" or ");
        (parts.assigned)(sql, member);
    }
    if let Some(member) = scope.jobs_of {
        sql.push(" or ");
        (parts.jobs)(sql, member);
    }
    if let Some(interview) = scope.interview {
        sql.push(" or ");
        (parts.interview)(sql, interview);
    }
    if let Some(candidate) = scope.candidate {
        sql.push(" or ");
        (parts.candidate)(sql, candidate);
    }
    sql.push(")");
}

fn company(sql: &mut Sql, view: &View, table: &str) {
    sql.push(table).push(".company_id = ").push_bind(view.company.0);
}

/// Rows of this candidate.
fn own(sql: &mut Sql, t: &str, candidate: CandidateId) {
    sql.push(t).push(".candidate_id = ").push_bind(candidate.0);
}

/// Rows that only a right to the whole company reaches.
pub(crate) fn whole_company(sql: &mut Sql, view: &View, table: &str) {
    company(sql, view, table);
    if !view.scope.all {
        sql.push(" and false");
    }
}

/// Rows with `interviewer_id`, `hiring_manager`, `interview_id` and `candidate_id`: interviews and
/// verdicts.
pub(crate) fn rounds(sql: &mut Sql, view: &View, t: &str) {
    let parts = Parts {
        assigned: &|sql, member| {
            sql.push(t).push(".interviewer_id = ").push_bind(member.0);
        },
        jobs: &|sql, member| {
            sql.push(t).push(".hiring_manager = ").push_bind(member.0);
        },
        interview: &|sql, interview| {
            sql.push(t).push(".interview_id = ").push_bind(interview.0);
        },
        // Nobody has told them of a round that is only planned.
        candidate: &|sql, candidate| {
            own(sql, t, candidate);
            sql.push(" and ").push(t).push(".status <> 'PLANNED'");
        },
    };
    restrict(sql, view, t, &parts);
}

/// Rows that belong to the interview named by `column`.
pub(crate) fn of_interview(sql: &mut Sql, view: &View, t: &str, column: &str) {
    company(sql, view, t);
    if !view.scope.all {
        sql.push(" and exists (select from ").push(Interviews::VIEW);
        sql.push(" own where own.interview_id = ");
        sql.push(t).push(".").push(column).push(" and ");
        rounds(sql, view, "own");
        sql.push(")");
    }
}

/// Jobs.
pub(crate) fn jobs(sql: &mut Sql, view: &View, t: &str) {
    let through = |sql: &mut Sql| {
        sql.push("exists (select from ")
            .push(Interviews::VIEW)
            .push(" i where i.company_id = ")
            .push(t)
            .push(".company_id and i.job_id = ")
            .push(t)
            .push(".job_id and ");
    };
    let parts = Parts {
        assigned: &|sql, member| {
            through(sql);
            sql.push("i.interviewer_id = ").push_bind(member.0).push(")");
        },
        jobs: &|sql, member| {
            sql.push(t).push(".hiring_manager = ").push_bind(member.0);
        },
        interview: &|sql, interview| {
            through(sql);
            sql.push("i.interview_id = ").push_bind(interview.0).push(")");
        },
        candidate: &|sql, candidate| {
            through(sql);
            own(sql, "i", candidate);
            sql.push(")");
        },
    };
    restrict(sql, view, t, &parts);
}

/// Rows with `candidate_id`: reached through the candidate's assignment, through rounds, and
/// through applications for the member's jobs.
fn through_candidate(sql: &mut Sql, view: &View, t: &str, assigned: &dyn Fn(&mut Sql, MemberId)) {
    let round = |sql: &mut Sql| {
        sql.push("exists (select from ")
            .push(Interviews::VIEW)
            .push(" i where i.company_id = ")
            .push(t)
            .push(".company_id and i.candidate_id = ")
            .push(t)
            .push(".candidate_id and ");
    };
    let parts = Parts {
        assigned: &|sql, member| {
            assigned(sql, member);
            sql.push(" or ");
            round(sql);
            sql.push("i.interviewer_id = ").push_bind(member.0).push(")");
        },
        jobs: &|sql, member| {
            sql.push("exists (select from ")
                .push(Applications::VIEW)
                .push(" a join ")
                .push(Jobs::VIEW)
                .push(" j on j.company_id = a.company_id and j.job_id = a.job_id")
                .push(" where a.company_id = ")
                .push(t)
                .push(".company_id and a.candidate_id = ")
                .push(t)
                .push(".candidate_id and j.hiring_manager = ")
                .push_bind(member.0)
                .push(")");
        },
        interview: &|sql, interview| {
            round(sql);
            sql.push("i.interview_id = ").push_bind(interview.0).push(")");
        },
        candidate: &|sql, candidate| own(sql, t, candidate),
    };
    restrict(sql, view, t, &parts);
}

/// Candidates.
pub(crate) fn candidates(sql: &mut Sql, view: &View, t: &str) {
    through_candidate(sql, view, t, &|sql, member| {
        sql.push(t).push(".assigned_to = ").push_bind(member.0);
    });
}

/// What belongs to a candidate, such as a résumé.
pub(crate) fn of_candidate(sql: &mut Sql, view: &View, t: &str) {
    through_candidate(sql, view, t, &|sql, member| {
        of_assigned_candidate(sql, t, member);
    });
}

fn of_assigned_candidate(sql: &mut Sql, t: &str, member: MemberId) {
    sql.push("exists (select from ")
        .push(Candidates::VIEW)
        .push(" c where c.company_id = ")
        .push(t)
        .push(".company_id and c.candidate_id = ")
        .push(t)
        .push(".candidate_id and c.assigned_to = ")
        .push_bind(member.0)
        .push(")");
}

/// Applications: a manager reaches those for the own jobs only.
pub(crate) fn applications(sql: &mut Sql, view: &View, t: &str) {
    let round = |sql: &mut Sql| {
        sql.push("exists (select from ")
            .push(Interviews::VIEW)
            .push(" i where i.company_id = ")
            .push(t)
            .push(".company_id and i.application_id = ")
            .push(t)
            .push(".application_id and ");
    };
    let parts = Parts {
        assigned: &|sql, member| {
            of_assigned_candidate(sql, t, member);
            sql.push(" or ");
            round(sql);
            sql.push("i.interviewer_id = ").push_bind(member.0).push(")");
        },
        jobs: &|sql, member| {
            sql.push("exists (select from ")
                .push(Jobs::VIEW)
                .push(" j where j.company_id = ")
                .push(t)
                .push(".company_id and j.job_id = ")
                .push(t)
                .push(".job_id and j.hiring_manager = ")
                .push_bind(member.0)
                .push(")");
        },
        interview: &|sql, interview| {
            round(sql);
            sql.push("i.interview_id = ").push_bind(interview.0).push(")");
        },
        candidate: &|sql, candidate| own(sql, t, candidate),
    };
    restrict(sql, view, t, &parts);
}
