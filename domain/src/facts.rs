//! States of other streams that a decision relies on. The bus loads them and guards their versions.

use std::collections::HashMap;

use crate::application::Application;
use crate::candidate::Candidate;
use crate::company::Company;
use crate::ids::{ApplicationId, CandidateId, InterviewId, JobId, MemberId, ResumeId};
use crate::interview::Interview;
use crate::job::Job;
use crate::member::Member;
use crate::resume::Resume;

/// Names a stream of the caller's company whose state a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A candidate for a job.
    Application(ApplicationId),
    /// A candidate's record.
    Candidate(CandidateId),
    /// The company itself.
    Company,
    /// An interview round.
    Interview(InterviewId),
    /// A job.
    Job(JobId),
    /// A person of the company.
    Member(MemberId),
    /// A résumé.
    Resume(ResumeId),
}

/// The states asked for. What does not exist in the company is absent.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Applications by id.
    pub applications: HashMap<ApplicationId, Application>,
    /// Candidates by id.
    pub candidates: HashMap<CandidateId, Candidate>,
    /// The company.
    pub company: Option<Company>,
    /// Interviews by id.
    pub interviews: HashMap<InterviewId, Interview>,
    /// Jobs by id.
    pub jobs: HashMap<JobId, Job>,
    /// Members by id.
    pub members: HashMap<MemberId, Member>,
    /// Résumés by id.
    pub resumes: HashMap<ResumeId, Resume>,
}
