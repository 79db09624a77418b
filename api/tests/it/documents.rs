//! Documents that are named by their hash.

use api::transport::Settings;
use api::transport::documents::Trusted;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Server, code, send};

const HELLO: &str = "query($name: String) { hello(name: $name) }";

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

#[tokio::test]
async fn a_document_is_sent_once_and_named_from_then_on() {
    let server = Server::start().await;
    let ask = async |body: Value| send(server.post().body(body.to_string())).await;
    let by_hash = json!({ "extensions": named(&hash(HELLO)), "variables": { "name": "Ada" } });
    let (status, unknown) = ask(by_hash.clone()).await;
    assert_eq!((status, code(&unknown)), (400, "PERSISTED_QUERY_NOT_FOUND"));
    assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound", "clients look for it");
    let both = json!({ "query": HELLO, "extensions": named(&hash(HELLO)) });
    assert_eq!(ask(both).await.1["data"]["hello"], "hello world");
    assert_eq!(ask(by_hash).await.1["data"]["hello"], "hello Ada");

    let extensions = named(&hash(HELLO)).to_string().replace('{', "%7B").replace('}', "%7D");
    let get = server.get(&format!("/graphql?extensions={}", extensions.replace('"', "%22")));
    assert_eq!(send(get).await.1["data"]["hello"], "hello world");
}

#[tokio::test]
async fn a_hash_is_that_of_its_text_and_names_documents_alone() {
    let server = Server::start().await;
    let ask = async |body: Value| send(server.post().body(body.to_string())).await;
    let other = json!({ "query": "{ who }", "extensions": named(&hash(HELLO)) });
    assert_eq!(code(&ask(other).await.1), "PERSISTED_QUERY_HASH_MISMATCH");
    // What is no document is not kept.
    for text in ["{ hello", "nonsense"] {
        let both = json!({ "query": text, "extensions": named(&hash(text)) });
        assert_eq!(code(&ask(both).await.1), "GRAPHQL_PARSE_FAILED");
        let by_hash = json!({ "extensions": named(&hash(text)) });
        assert_eq!(code(&ask(by_hash).await.1), "PERSISTED_QUERY_NOT_FOUND");
    }
    for malformed in [json!(7), json!({ "version": 2, "sha256Hash": hash(HELLO) }), json!({})] {
        let body = json!({ "query": HELLO, "extensions": { "persistedQuery": malformed } });
        assert_eq!(code(&ask(body).await.1), "MALFORMED_REQUEST");
    }
    // A mutation that is known by its hash is still none for GET.
    let bump = "mutation { bump(by: 1) }";
    let both = json!({ "query": bump, "extensions": named(&hash(bump)) });
    assert_eq!(ask(both).await.0, 200);
    let extensions = named(&hash(bump)).to_string().replace('"', "%22");
    let extensions = extensions.replace('{', "%7B").replace('}', "%7D");
    let get = server.get(&format!("/graphql?extensions={extensions}"));
    assert_eq!(send(get).await.0, 405);
}

#[tokio::test]
async fn only_listed_documents_are_carried_out_where_there_is_a_list() {
    let manifest = json!({ "Hello": HELLO }).to_string();
    let trusted = Some(Trusted::parse(&manifest).expect("a manifest"));
    let server = Server::with(Settings { trusted, ..Settings::default() }).await;
    let ask = async |body: Value| send(server.post().body(body.to_string())).await;
    for body in [json!({ "query": HELLO }), json!({ "extensions": named(&hash(HELLO)) })] {
        assert_eq!(ask(body).await.1["data"]["hello"], "hello world");
    }
    for body in [
        json!({ "query": "{ who }" }),
        json!({ "query": format!("{HELLO} ") }),
        json!({ "query": "nonsense" }),
        json!({ "extensions": named(&hash("{ who }")) }),
        json!({ "query": "{ who }", "extensions": named(&hash("{ who }")) }),
    ] {
        let (status, refused) = ask(body).await;
        assert_eq!((status, code(&refused)), (403, "DOCUMENT_NOT_TRUSTED"));
    }
}
