// The page's own code: GraphiQL over fetch for queries and mutations, and over graphql-ws for
// subscriptions, both at /graphql of the same origin.
import { GraphiQL } from "graphiql";
import "graphiql/style.css";
import "./page.css";
import { getOperationAST, parse } from "graphql";
import { createClient } from "graphql-ws";
import { createRoot } from "react-dom/client";

const path = "/graphql";

const welcome = `# Sign in with the signIn mutation, then put the access token into the
# Headers editor below and press "Re-fetch GraphQL schema" (the circle on the left):
#
#   { "Authorization": "Bearer <token>" }
#
# The schema is shown to the signed-in only. Subscriptions use the same token.

`;

function authorizationOf(headers) {
  const name = Object.keys(headers ?? {}).find((key) => key.toLowerCase() === "authorization");
  return name === undefined ? undefined : headers[name];
}

async function once(params, headers) {
  const response = await fetch(path, {
    method: "POST",
    headers: {
      ...headers,
      "content-type": "application/json",
      accept: "application/graphql-response+json, application/json;q=0.9",
    },
    body: JSON.stringify(params),
  });
  return response.json();
}

// One socket per subscription, so that each uses the token that stands in the editor now.
async function* live(params, headers) {
  const authorization = authorizationOf(headers);
  const client = createClient({
    url: new URL(path, location.href).href.replace(/^http/, "ws"),
    connectionParams: authorization === undefined ? {} : { authorization },
    retryAttempts: 0,
  });
  try {
    yield* client.iterate(params);
  } catch (error) {
    // A closed socket rejects with its close event, the server's errors with a list.
    if (Array.isArray(error)) yield { errors: error };
    else yield { errors: [{ message: `socket closed: ${error?.code ?? ""} ${error?.reason ?? error}` }] };
  } finally {
    await client.dispose();
  }
}

function isSubscription({ query, operationName }) {
  try {
    return getOperationAST(parse(query), operationName)?.operation === "subscription";
  } catch {
    // The server tells what is wrong with the document.
    return false;
  }
}

function fetcher({ query, operationName, variables }, options) {
  const params = { query, operationName: operationName ?? undefined, variables };
  return isSubscription(params) ? live(params, options?.headers) : once(params, options?.headers);
}

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL fetcher={fetcher} defaultQuery={welcome} defaultEditorToolsVisibility="headers" />,
);
