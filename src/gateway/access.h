#pragma once

#include <optional>
#include <string>

#include "api/errors.h"
#include "gateway/keys.h"
#include "gateway/options.h"
#include "gateway/request.h"

namespace sollol::gateway {

class Worker;

/// The answer to a request that may not go on.
struct Refusal {
  api::Reply reply;
  std::string fields = {};  // whole lines with CRLF
};

/// Whether a gateway on a loopback address answers to this Host, by Ollama's rule (reference §1): a
/// page whose name was made to point here (DNS rebinding) names itself. Ports do not matter.
bool host_accepted(std::string_view authority, const Options& options);

/// Whether the request comes from this very machine, as far as the connection tells.
bool from_this_machine(const Request& request);

/// Refuses what the pages of other sites may make a browser send: for the gateway's own routes all
/// but same-origin and configured origins, for routes that change nodes what no origin vouches for.
/// Before the general rules for origins.
std::optional<Refusal> refuse_other_sites(const Request& request, const Options& options);

/// Finds the request's key and what it allows. With keys in force it sets `request.key`, what
/// follows from it (fair queueing, the most urgent class), and counts the request in
/// `request.key_use`; without, the caller's own credentials go on to the node. Refusals are in the
/// form of the caller's API.
std::optional<Refusal> check_key(Worker& worker, Request& request);

/// Whether the request's key, if it has one, may use the model of this key; an empty one stands for
/// a model that could not be made out.
std::optional<api::Reply> refuse_model(const Request& request, std::string_view model_key);

}  // namespace sollol::gateway
