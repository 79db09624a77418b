//! Invitations that have ended or were lost, and are made anew.

use crate::*;

const CY: &str = "cy@acme.example";

/// An administrator, and one who is invited.
async fn invited(w: &World) -> (Caller, identity::Invited) {
    let (_, session) = w.admin().await;
    let admin = session.principal.caller;
    let cy = w.identity.invite(&admin, order(2), invitee(CY, Role::Viewer)).await;
    (admin, cy.expect("invited"))
}

async fn accept(w: &World, token: &SecretString) -> &'static str {
    code(w.identity.accept_invitation(token.expose_secret(), password(), None).await)
}

#[tokio::test]
async fn an_invitation_that_has_ended_is_renewed_and_the_old_one_stays_dead() {
    let w = World::new().await;
    let (admin, cy) = invited(&w).await;
    w.clock.advance(TimeDelta::days(7));
    assert_eq!(accept(&w, &cy.token).await, "INVITATION_INVALID");
    let renewed = w.identity.renew_invitation(&admin, order(3), cy.member_id).await;
    let renewed = renewed.expect("renewed");
    assert_eq!(w.n_letters("INVITATION", CY).await, 2);
    let again = w.identity.renew_invitation(&admin, order(3), cy.member_id).await;
    let again = again.expect("a repeat");
    assert_eq!(again.token.expose_secret(), renewed.token.expose_secret());
    assert_eq!(w.n_letters("INVITATION", CY).await, 2, "one letter for one command");
    assert_eq!(accept(&w, &cy.token).await, "INVITATION_INVALID");
    assert_eq!(accept(&w, &renewed.token).await, "ok");
    assert_eq!(accept(&w, &cy.token).await, "INVITATION_INVALID");
    let joined = w.identity.renew_invitation(&admin, order(4), cy.member_id).await;
    assert_eq!(code(joined), "MEMBER_ALREADY_JOINED");
    let stream = StreamId::new(admin.company, "member", cy.member_id.0);
    let events = w.store.read_stream(&stream, Version(0), 100).await.expect("read");
    let names: Vec<_> = events.iter().map(|event| event.name.to_string()).collect();
    assert_eq!(names, ["member.invited", "member.invitation_renewed", "member.joined"]);
}

#[tokio::test]
async fn the_repeat_of_an_older_renewal_does_not_bring_its_token_back() {
    let w = World::new().await;
    let (admin, cy) = invited(&w).await;
    let renew = async |n| w.identity.renew_invitation(&admin, order(n), cy.member_id).await;
    let older = renew(3).await.expect("renewed");
    let newer = renew(4).await.expect("renewed");
    let repeat = renew(3).await.expect("a repeat");
    assert_eq!(repeat.token.expose_secret(), older.token.expose_secret());
    assert_eq!(accept(&w, &older.token).await, "INVITATION_INVALID");
    assert_eq!(accept(&w, &newer.token).await, "ok");
}

#[tokio::test]
async fn only_who_invites_renews_and_only_who_is_invited_is_asked_again() {
    let w = World::new().await;
    let (admin, cy) = invited(&w).await;
    let viewer = Caller { roles: vec![Role::Viewer], ..admin.clone() };
    let refused = w.identity.renew_invitation(&viewer, order(3), cy.member_id).await;
    assert_eq!(code(refused), "AUTH_003");
    let nobody = domain::ids::MemberId(Uuid::from_u128(7));
    let refused = w.identity.renew_invitation(&admin, order(4), nobody).await;
    assert_eq!(code(refused), "MEMBER_NOT_FOUND");
    let elsewhere = Caller { company: CompanyId(Uuid::from_u128(4)), ..admin };
    let refused = w.identity.renew_invitation(&elsewhere, order(5), cy.member_id).await;
    assert_eq!(code(refused), "MEMBER_NOT_FOUND");
    assert_eq!(accept(&w, &cy.token).await, "ok", "and nothing has happened to it");
}
