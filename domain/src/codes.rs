//! Every public code of rules, bus, reads and machines, in one table: `schemas/errors.md` is made of
//! it. The codes that the transports answer with by themselves stand beside the transports.

/// What a client can tell apart without knowing the code: the coarse class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Nobody is signed in.
    AuthRequired,
    /// The token is not good.
    InvalidToken,
    /// The caller has no right to it.
    AccessDenied,
    /// It is not there, or belongs to another company.
    NotFound,
    /// The input is wrong in itself.
    ValidationFailed,
    /// The input is right, but not now: a rule or what others did stands against it.
    Conflict,
    /// Too much in too short a time.
    RateLimited,
    /// A part that is needed does not answer.
    Unavailable,
    /// We failed.
    InternalError,
}

impl Kind {
    /// What stands in `extensions.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "AUTH_REQUIRED",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::ValidationFailed => "VALIDATION_FAILED",
            Self::Conflict => "CONFLICT",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// One public code. Its meaning never changes once published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What stands in `extensions.code`.
    pub code: &'static str,
    /// Its coarse class.
    pub kind: Kind,
    /// HTTP status of the plain HTTP edges, and `extensions.status`.
    pub status: u16,
    /// What happened and why, in one sentence.
    pub meaning: &'static str,
    /// What the caller can do, in one sentence.
    pub remedy: &'static str,
}

/// The entry of a code.
#[must_use]
pub fn find(code: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.code == code)
}

macro_rules! entries {
    ($($code:literal $kind:ident $status:literal $meaning:literal $remedy:literal)*) => {
        /// Every code, by what it is about.
        pub const ENTRIES: &[Entry] = &[$(Entry {
            code: $code,
            kind: Kind::$kind,
            status: $status,
            meaning: $meaning,
            remedy: $remedy,
        },)*];
    };
}

entries! {
    // Who asks.
    "AUTH_REQUIRED" AuthRequired 401
        "The request carries no token."
        "Sign in and send the access token."
    "AUTH_001" AuthRequired 401
        "E-mail address and password do not belong together, or the account is unknown."
        "Correct them and try again."
    "AUTH_002" InvalidToken 401
        "The access token has expired."
        "Take a new one and repeat the request."
    "AUTH_003" AccessDenied 403
        "The caller's role has no right to this, or not for this instance."
        "Ask an administrator of the company for the right."
    "AUTH_004" InvalidToken 401
        "The token was revoked."
        "Sign in again."
    "INVALID_TOKEN" InvalidToken 401
        "The token is malformed or was not issued here."
        "Sign in and send the access token as it was received."
    "ACCESS_DENIED" AccessDenied 403
        "The caller may not see or do this."
        "Ask an administrator of the company for the right."
    "RATE_LIMITED" RateLimited 429
        "Too much was asked in too short a time; the message says of what."
        "Wait for the seconds in extensions.retryAfter, over HTTP also in the header Retry-After."
    "AUTH_LOCKED" RateLimited 429
        "Signing in with this address failed five times; for 15 minutes nobody is let in with it, known or not."
        "Wait, then try again, or set a new password."
    "COMPANY_REQUESTS_FULL" RateLimited 429
        "A thousand companies ask to be let in and wait for a decision."
        "Try again later."
    "SECOND_STEP_NEEDED" AuthRequired 401
        "The password is right, and the account asks for a second proof."
        "Send the code of the authenticator by finishSignIn."
    "SECOND_FACTOR_WRONG" AuthRequired 401
        "The code is wrong or was used before, or the step is over."
        "Send the next code, or sign in again."
    "SECOND_FACTOR_MISSING" AccessDenied 403
        "Whoever runs the platform enters a company only by a session that was opened by two proofs."
        "Set a second one up by beginSecondFactor and confirmSecondFactor if there is none, then sign in by both."
    "SECOND_FACTOR_ON" Conflict 409
        "The account asks for a second proof already."
        "Switch it off first."
    "API_KEY_NOT_FOUND" NotFound 404
        "The company has no API key of this id."
        "List the keys again."
    "SIGN_ON_NOT_CONFIGURED" NotFound 404
        "The company has no provider to sign in by."
        "Sign in with a password, or ask an administrator of the company."
    "SIGN_ON_REFUSED" AuthRequired 401
        "The provider's answer is not to be believed or came too late, or it names nobody who is invited."
        "Begin again, or ask an administrator of the company for an invitation."
    "SIGN_ON_PROVIDER_FAILED" Unavailable 503
        "The company's provider does not answer as providers do."
        "Try again later, or sign in with a password."
    "SESSION_NOT_FOUND" NotFound 404
        "The account has no open session of this id."
        "List the sessions again; it may have ended meanwhile."
    "LETTER_INVALID" ValidationFailed 400
        "The token of the letter is unknown, expired, or was used."
        "Ask for another letter."
    "INVITATION_INVALID" ValidationFailed 400
        "The invitation is unknown, expired, or taken up by another."
        "Ask an administrator of the company for a new one."

    // Every command and every read.
    "NOT_FOUND" NotFound 404
        "There is no such thing in the caller's company."
        "Check the id; what belongs to another company looks the same as what is absent."
    "PARKED_NOT_FOUND" NotFound 404
        "No stream is parked there."
        "List the parked streams again; it may have been settled meanwhile."
    "VALIDATION_FAILED" ValidationFailed 400
        "A field has a value that it cannot take; the message names both."
        "Correct the named field."
    "VERSION_CONFLICT" Conflict 409
        "The thing has another version than expectedVersion: somebody changed it meanwhile."
        "Read it again, decide again, and send the new version."
    "CONTENDED" Conflict 409
        "Others changed the same thing again and again while this was decided; nothing was written."
        "Send the same command again after a moment."
    "COMMAND_ID_REUSED" Conflict 409
        "The commandId was used before with another input; nothing was written."
        "Use a new commandId for each new command."
    "OUTCOME_UNKNOWN" Unavailable 503
        "The connection to the log broke while the command was written: it may have been carried out."
        "Send the same command again with the same commandId; it takes effect once."
    "UNAVAILABLE" Unavailable 503
        "The log cannot be reached; nothing was written."
        "Send the same command again after a moment."
    "SUBJECT_ERASED" Conflict 410
        "The person that this is about was erased."
        "Nothing can be recorded about the person any more."
    "TOO_LARGE" ValidationFailed 413
        "What would be recorded is larger than 256 KiB."
        "Send less, or upload it as a file."
    "NEWER_HISTORY" Unavailable 503
        "The record was written by a newer version of the product than the one that answers."
        "Try again; if it stays, finish the upgrade of all processes."
    "INTERNAL_ERROR" InternalError 500
        "The server failed; the cause is in its log under the request id."
        "Repeat the request; if it fails again, report the request id."
    "STALE_READ" Unavailable 503
        "The read model has not yet applied the versions that the request asks for; the message says how far it is."
        "Repeat the query after a moment, or leave the token out."
    "CONSISTENCY_TOKEN_INVALID" ValidationFailed 400
        "A consistency token is malformed, names a version that does not exist, or another company's stream."
        "Send tokens as they were received."
    "CURSOR_INVALID" ValidationFailed 400
        "The cursor was not made by this list with this filter, or by this subscription."
        "Send a cursor as it was received, to the field and with the filter that it came from."
    "CURSOR_AHEAD" ValidationFailed 400
        "The cursor is past the end of the log."
        "Start from the last cursor that was received."
    "PAGE_INVALID" ValidationFailed 400
        "A page is asked for with both first and last, or with a size out of range."
        "Give one of the two, between 1 and 100."
    "AS_OF_IN_FUTURE" ValidationFailed 400
        "A state is asked for as of a time that has not come."
        "Ask for a time that is past."
    "AS_OF_VERSION_UNKNOWN" NotFound 404
        "A state is asked for as of a version that the history has not reached."
        "Ask for a version that exists."
    "HISTORY_UNREADABLE" InternalError 500
        "An event of the history cannot be read; what follows it is withheld, so that nobody takes a part for the whole."
        "Report the request id; finish the upgrade of all processes, if one is under way."

    // Companies, accounts, members.
    "COMPANY_NOT_FOUND" NotFound 404
        "There is no such company."
        "Check the id."
    "COMPANY_ALREADY_REGISTERED" Conflict 409
        "The company exists already."
        "Use the existing one, or another id."
    "COMPANY_DOMAIN_TAKEN" Conflict 409
        "Another company has this domain."
        "Use another domain."
    "ACCOUNT_ALREADY_REGISTERED" Conflict 409
        "The account exists already."
        "Sign in with it."
    "COMPANY_REQUEST_NOT_FOUND" NotFound 404
        "There is no such request of a company."
        "Check the id."
    "COMPANY_REQUEST_ALREADY_SUBMITTED" Conflict 409
        "The request was made already."
        "Wait for the decision."
    "COMPANY_REQUEST_ALREADY_APPROVED" Conflict 409
        "The request was approved already."
        "Nothing needs to be done."
    "COMPANY_REQUEST_ALREADY_REJECTED" Conflict 409
        "The request was rejected already."
        "Make a new request."
    "ACCOUNT_NOT_FOUND" NotFound 404
        "There is no such account."
        "Check the id."
    "ACCOUNT_EMAIL_TAKEN" Conflict 409
        "Another account has this e-mail address."
        "Sign in with that account, or use another address."
    "MEMBER_OWN_ADMINISTRATION" Conflict 409
        "An administrator tried to give up the own role, which could leave the company without one."
        "Let another administrator do it."
    "MEMBER_NOT_FOUND" NotFound 404
        "There is no such active member in the company."
        "Check the id, and that the person has joined and is active."
    "MEMBER_ALREADY_INVITED" Conflict 409
        "The person is invited already."
        "Wait for the person to join, or assign a role."
    "MEMBER_ALREADY_JOINED" Conflict 409
        "Somebody joined with this invitation already."
        "Ask for an invitation of your own."
    "MEMBER_NOT_JOINED" Conflict 409
        "The person was invited and has not joined; who invited could still join instead, with what is given now."
        "Wait until the person has joined."
    "MEMBER_EMAIL_TAKEN" Conflict 409
        "Another member of the company has this e-mail address."
        "Use that member, or another address."
    "MEMBER_DEACTIVATED" Conflict 409
        "The member is deactivated."
        "Reactivate the member first."
    "MEMBER_NO_SUCH_MANAGER" ValidationFailed 400
        "Nobody of this id has joined the company and is active there, or it is the person in question."
        "Name another active member as manager, or none."
    "MEMBER_PLATFORM_ROLE" ValidationFailed 400
        "The role belongs to the platform and cannot be given in a company."
        "Choose a role of the company."

    "ROLE_NOT_FOUND" NotFound 404
        "The company has no custom role of this id, or it was removed."
        "Check the id; roles lists those that there are."
    "ROLE_ALREADY_DEFINED" Conflict 409
        "A custom role of this id was made before."
        "Use another id."
    "ROLE_NAME_TAKEN" Conflict 409
        "Another custom role of the company has this name, whatever the case of its letters."
        "Choose another name, or change that role."
    "ROLE_TOO_MANY" Conflict 409
        "The company has 50 custom roles, and may not have more."
        "Remove one that is not needed."
    "ROLE_RIGHT_NOT_GIVABLE" ValidationFailed 400
        "A right cannot be given by a custom role, or not with this reach; the message names both."
        "Leave it out, or give it with another reach."

    // Jobs.
    "JOB_001" NotFound 404
        "There is no such job, or it is not published."
        "Check the id, and publish the job before people apply or are interviewed."
    "JOB_ALREADY_OPENED" Conflict 409
        "The job exists already."
        "Use the existing one, or another id."
    "JOB_CLOSED" Conflict 409
        "The job is closed and takes no changes."
        "Open a new job."
    "JOB_QUESTION_EXISTS" Conflict 409
        "The question's id is used with another content."
        "Use a new id, or remove the question first."
    "JOB_QUESTION_NOT_FOUND" NotFound 404
        "The job has no such question."
        "Check the id."
    "JOB_UNKNOWN_DIMENSION" ValidationFailed 400
        "A question names a dimension that the job's rubric does not have."
        "Set the rubric first, or correct the key."
    "JOB_NO_SUCH_MANAGER" ValidationFailed 400
        "The hiring manager is not an active member of the company."
        "Choose an active member."
    "JOB_NOT_READY" Conflict 409
        "The job lacks a rubric or a question."
        "Set a rubric and add a question, then publish."

    // Candidates, applications, résumés.
    "CAND_001" NotFound 404
        "There is no such active candidate."
        "Check the id, and that the record is not archived."
    "CAND_002" Conflict 409
        "An active candidate of the company has this e-mail address, or the record exists already."
        "Use the existing record."
    "CAND_ADDRESS_BY_PROGRAM" AccessDenied 403
        "A program asked for another e-mail address of a candidate; whoever has the address can register as the candidate."
        "Let a person of the company change the address."
    "CAND_ACCOUNT_LINKED" Conflict 409
        "The candidate has another login, or the login another active candidate of the company."
        "Sign in with that login, or ask the company to put the record away."
    "CAND_ARCHIVED" Conflict 409
        "The candidate is archived and takes no changes."
        "Register the person anew."
    "APPLICATION_NOT_FOUND" NotFound 404
        "There is no such open application, or it is not of this candidate and job."
        "Check the id, and that the application was neither rejected nor withdrawn."
    "APPLICATION_ALREADY_OPEN" Conflict 409
        "The candidate has an open application for this job."
        "Use the existing one."
    "APPLICATION_ILLEGAL_MOVE" Conflict 409
        "The pipeline has no such move; the message names both statuses."
        "Move step by step."
    "RESUME_NOT_FOUND" NotFound 404
        "There is no such résumé, or it is another candidate's."
        "Check the id."
    "RESUME_ALREADY_UPLOADED" Conflict 409
        "The id names another file."
        "Upload the file under a new id."
    "RESUME_NO_TEXT" Conflict 409
        "The résumé has no text: it was not read yet, or the file holds none, as a scanned picture."
        "Wait until it is read, or upload a file with text."
    "RESUME_UNSUPPORTED_KIND" ValidationFailed 422
        "The file is none of PDF, DOCX and plain text."
        "Upload one of these."
    "RESUME_DOC_NOT_READ" ValidationFailed 422
        "The file is a Word document of the old format: it is kept, but not read."
        "Upload it as DOCX or PDF."
    "RESUME_DAMAGED" ValidationFailed 422
        "The file cannot be read to its end."
        "Export it again and upload the new file."
    "RESUME_FILE_MISSING" NotFound 404
        "The object store does not hold the file that was uploaded."
        "Upload the file again."
    "RESUME_PROTECTED" ValidationFailed 422
        "The file is protected by a password."
        "Upload it without protection."
    "RESUME_TOO_LARGE" ValidationFailed 413
        "The file, or what it unpacks to, is larger than allowed."
        "Upload a smaller file."
    "RESUME_READING_TOOK_TOO_LONG" ValidationFailed 422
        "The file could not be read in time."
        "Upload a simpler file."

    // Interviews.
    "INT_001" NotFound 404
        "There is no such interview."
        "Check the id."
    "INT_002" ValidationFailed 400
        "The interview's access token is unknown, expired or revoked, or the interview is over."
        "Ask the company for a new invitation."
    "INT_003" Conflict 409
        "The interview is completed already."
        "Nothing is left to do; read its result."
    "INT_ALREADY_PLANNED" Conflict 409
        "The interview exists already."
        "Schedule or reschedule the existing one."
    "INT_ILLEGAL_TRANSITION" Conflict 409
        "The interview's status does not allow this; the message names the status it has and the one it would need or get."
        "Read the interview's status again."
    "INTERVIEW_ROUND_TAKEN" Conflict 409
        "The application has a round with this number."
        "Use the next number, or restart the abandoned round."
    "INT_NEEDS_INTERVIEWER" ValidationFailed 400
        "A person conducts rounds of this mode, and none is named or asking."
        "Name an interviewer."
    "INT_NO_INTERVIEWER_WANTED" ValidationFailed 400
        "The round is conducted by AI and has no interviewer."
        "Leave the interviewer out, or choose another mode."
    "INT_NOT_RESTARTABLE" Conflict 409
        "Only an abandoned round of the same application can be restarted."
        "Plan a new round instead."
    "INT_NO_CONSENT" Conflict 409
        "The candidate has not consented to analysis by AI, or took the consent back."
        "Ask the candidate for consent, or go on without AI."
    "INT_NO_AI" Conflict 409
        "The round's mode leaves no place for AI here."
        "Choose a mode with AI when the round is planned."
    "INT_CANDIDATE_ABSENT" Conflict 409
        "The candidate has not joined."
        "Start once the candidate is there."
    "INT_QUESTION_OPEN" Conflict 409
        "Another question waits for its answer."
        "Wait for the answer or its time-out."
    "INT_QUESTION_EXISTS" Conflict 409
        "The question's id is used in this interview."
        "Use a new id."
    "INT_QUESTION_NOT_FOUND" NotFound 404
        "The interview, or its job, has no such question."
        "Check the id."
    "INT_QUESTION_CLOSED" Conflict 409
        "The question's time is over; it takes no answer."
        "Answer the question that is open."
    "INT_ALREADY_ANSWERED" Conflict 409
        "The question was answered already; the first accepted answer stands."
        "Read the transcript."
    "INT_ANSWER_EXISTS" Conflict 409
        "The answer's id is used in this interview."
        "Use a new id."
    "INT_ALREADY_FOLLOWED_UP" Conflict 409
        "The question was followed up already, or is a follow-up itself."
        "Ask the next question."
    "INT_ANSWER_NOT_FOUND" NotFound 404
        "The interview has no such answer."
        "Check the id."
    "INT_TOO_EARLY" Conflict 409
        "The time that must pass before this has not passed."
        "Try again later."
    "INT_NEEDS_REASON" ValidationFailed 400
        "An interview in progress is broken off only with a reason."
        "Give a reason."

    // Verdicts.
    "ASSESSMENT_NO_ANSWERS" Conflict 409
        "The interview has no recorded answer that an assessment could rest on."
        "Sign without a proposal, or hold another round."
    "VERDICT_NOT_FOUND" NotFound 404
        "There is no such verdict."
        "Check the id; a verdict is opened when its interview ends."
    "VERDICT_ALREADY_OPEN" Conflict 409
        "The interview has its verdict already."
        "Use the existing one."
    "VERDICT_INTERVIEW_NOT_OVER" Conflict 409
        "The interview has not ended."
        "Complete the interview first."
    "VERDICT_NO_RUBRIC" Conflict 409
        "The interview's rubric cannot be found in the job named."
        "Name the job of the interview."
    "VERDICT_NO_EVIDENCE" ValidationFailed 400
        "A score cites nothing, or a note that was not given; the message names the score."
        "Cite an answer of the interview, or write the note that is cited."
    "VERDICT_FOREIGN_EVIDENCE" ValidationFailed 400
        "A score cites an answer that is not of this interview; the message names the score."
        "Cite an answer of this interview."
    "VERDICT_MISPLACED_EVIDENCE" ValidationFailed 400
        "A score cites an answer to a question about something else; the message names the score."
        "Cite an answer to a question about the same dimension."
    "VERDICT_WRONG_DIMENSION" ValidationFailed 400
        "The rubric does not have the dimension, or it is scored twice."
        "Score each dimension of the rubric at most once."
    "VERDICT_NOTHING_SCORED" ValidationFailed 400
        "A proposal without a score."
        "Score at least one dimension."
    "VERDICT_ALREADY_SIGNED" Conflict 409
        "The verdict was signed already; the message says by whom."
        "Read the signed verdict."
    "VERDICT_ONLY_A_PERSON_SIGNS" AccessDenied 403
        "A machine tried to sign a verdict."
        "Let a person of the company sign."
    "VERDICT_WRONG_SCORES" ValidationFailed 400
        "A signature lacks the score OVERALL, or scores a kind twice."
        "Score OVERALL, and each kind once."

    // Models.
    "AI_001" Unavailable 503
        "No AI provider answered."
        "Nothing is lost: it is tried again, and a person can go on without AI."
    "AI_002" RateLimited 429
        "The AI provider limits the rate, or as many calls to models were made as the settings allow."
        "Nothing is lost: it is tried again later."
    "AI_INVALID_ANSWER" Unavailable 503
        "The AI provider's answers do not have the shape or content asked for."
        "Restart the assessment, or go on without AI."
    "AI_REFUSED" Unavailable 503
        "The AI provider refuses the credentials or the request."
        "Check the provider's settings."
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_stands_in_the_table_once_and_says_what_to_do() {
        let codes: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.code).collect();
        assert_eq!(codes.len(), ENTRIES.len());
        for entry in ENTRIES {
            assert!((400..600).contains(&entry.status), "{}", entry.code);
            for sentence in [entry.meaning, entry.remedy] {
                assert!(sentence.ends_with('.'), "{}: {sentence}", entry.code);
            }
        }
    }

    #[test]
    fn a_kind_has_the_status_that_clients_expect_of_it() {
        for entry in ENTRIES {
            let expected: &[u16] = match entry.kind {
                Kind::AuthRequired | Kind::InvalidToken => &[401],
                Kind::AccessDenied => &[403],
                Kind::NotFound => &[404],
                Kind::ValidationFailed => &[400, 413, 422],
                Kind::Conflict => &[409, 410],
                Kind::RateLimited => &[429],
                Kind::Unavailable => &[503],
                Kind::InternalError => &[500],
            };
            assert!(expected.contains(&entry.status), "{}", entry.code);
        }
    }
}
