//! Members with a custom role: however they come in, they are who their company's state says now.

use domain::company::{self, Company};
use domain::custom_role::{CustomRights, Permission, Reach};
use domain::ids::RoleId;
use domain::permission::Action;
use identity::Place;

use crate::*;

#[tokio::test]
async fn a_member_has_at_each_use_what_the_custom_role_gives_at_that_moment() {
    let w = World::new().await;
    let (company, admin) = w.admin().await;
    let admin = admin.principal.caller;
    let invited = w.identity.invite(&admin, order(2), invitee("bo@acme.example", Role::Viewer));
    let invited = invited.await.expect("invited");
    let joined =
        w.identity.accept_invitation(invited.token.expose_secret(), password(), None).await;
    let token = joined.expect("joined").access_token;
    let custom = async |identity: &Identity| {
        identity.verify_anew(token.expose_secret()).await.expect("valid").caller.custom
    };
    let none = CustomRights::default();
    assert_eq!(custom(&w.identity).await, none);

    let role_id = RoleId(Uuid::from_u128(7));
    let reads = vec![Permission { right: Action::ReadHistory, reach: Reach::All }];
    let signs = vec![Permission { right: Action::SignVerdict, reach: Reach::Assigned }];
    let company_does = async |command, n| {
        let done = w.bus.execute::<Company>(&admin, company.company_id.0, command, order(n)).await;
        done.expect("done");
    };
    let (name, permissions) = ("Reader".to_owned(), reads.clone());
    company_does(company::Command::DefineRole { role_id, name, permissions }, 3).await;
    assert_eq!(custom(&w.identity).await, none, "nobody has it yet");
    let assign = member::Command::AssignCustomRole { role_id: Some(role_id) };
    let done = w.bus.execute::<Member>(&admin, invited.member_id.0, assign, order(4)).await;
    done.expect("assigned");
    assert_eq!(custom(&w.identity).await, CustomRights::of(&reads));
    assert_eq!(custom(&w.replica().await).await, CustomRights::of(&reads));

    let (name, permissions) = ("Signer".to_owned(), signs.clone());
    company_does(company::Command::ChangeRole { role_id, name, permissions }, 5).await;
    assert_eq!(custom(&w.identity).await, CustomRights::of(&signs));
    let signed_in = w.identity.sign_in("bo@acme.example", password(), &anywhere()).await;
    let signed_in = signed_in.expect("signed in");
    assert_eq!(signed_in.principal.caller.roles, [Role::Viewer]);
    assert_eq!(signed_in.principal.caller.custom, CustomRights::of(&signs));

    company_does(company::Command::RemoveRole { role_id }, 6).await;
    assert_eq!(custom(&w.identity).await, none);
    let here = Entrance { place: Place::Company(company.company_id), device: None };
    let after = w.identity.sign_in("bo@acme.example", password(), &here).await.expect("signed in");
    assert_eq!(after.principal.caller.custom, none);
    assert_eq!(after.principal.caller.roles, [Role::Viewer]);
}
