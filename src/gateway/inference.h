#pragma once

#include "gateway/attempt.h"
#include "gateway/placement.h"

namespace sollol::gateway {

/// Requests that one node answers: inference, and everything else that is relayed to a single node.
///
/// Inference: reads the body, finds the model, gets a place, relays, and tries elsewhere while
/// nothing has reached the client and the retry budget allows.
net::Task<void> serve_inference(Connection& client);

/// `show` and `GET /v1/models/:model`: any node that has the model.
net::Task<void> serve_lookup(Connection& client);

/// Requests that any node may answer (cloud account routes), or the one that the client named.
net::Task<void> serve_any_node(Connection& client);

/// Relays to a node that fits `work`, with retries. Answers the client in every case.
net::Task<void> serve_work(Connection& client, Work work, Attempt::Plan plan);

/// Puts the choice of the slot's node for the request's present attempt into the log.
void note_decision(Connection& client, Slot& slot);

/// Fills in what the request's own fields say about where it may go. An answer when they name no
/// node of ours.
std::optional<api::Reply> apply_wishes(Connection& client, Work& work);

/// Makes `work` one for the model of that name as the newest view knows it; false when it knows
/// none.
bool take_model(Connection& client, Work& work, std::string_view key);
/// The same; asks the nodes again before it says that there is none.
net::Task<bool> look_for_model(Connection& client, Work& work, std::string key);

/// The refusal for a body that could not be read.
net::Task<void> answer_body_error(Connection& client, Error error);

}  // namespace sollol::gateway
