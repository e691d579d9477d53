#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/routes.h"
#include "base/time.h"
#include "cluster/wait_queue.h"
#include "gateway/keys.h"
#include "http/head.h"

namespace sollol::gateway {

/// How a request went: one line of the access log.
struct Outcome {
  int status = 0;
  std::string key;  // name of the API key
  std::string node;
  std::string reason;
  std::string model;
  std::string problem;  // what ended it early, for the operator
  Duration queued{};
  Duration first_byte{};  // from arrival to the first byte of the answer's body; zero: none
  std::uint64_t bytes_out = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  // As the node measured it; zero: unknown.
  Duration load{};
  Duration prefill{};
  Duration decode{};              // time of the output tokens
  std::uint32_t num_ctx = 0;      // what was asked for; 0: nothing
  std::uint64_t num_predict = 0;  // the longest answer asked for, in tokens; 0: nothing
  std::optional<bool> stream{};   // asked for; nullopt: it is no model's work
  std::uint64_t session = 0;      // the conversation's key; 0: none
  std::uint32_t attempts = 0;
  std::string_view hedge = {};  // what became of the second try in parallel; empty: there was none
  std::uint32_t num_ctx_pinned = 0;  // what its context was set to; 0: it is as it was asked for
  std::uint32_t resumed = 0;         // times that the stream went on at another node
};

/// One request as its handlers see it. Owns its text, since the bytes it was parsed from move;
/// reused by the connection's next request, so that a kept connection allocates none of it again.
struct Request {
  std::string id;
  std::string method;
  std::string target;  // path and query
  std::size_t path_length = 0;
  api::Route route;  // `parameter` points into `target`
  std::string
      pass_fields;  // the head's fields for a node, as lines with CRLF, without Host and lengths
  std::string content_encoding;
  std::string content_type;
  std::string authority;      // the client's Host
  std::string origin;         // of an allowed cross-origin request: the answer carries CORS fields
  std::string wanted_node;    // X-Sollol-Node or ?node=
  std::string session;        // X-Sollol-Session
  std::string via;            // ids of the gateways that it came through (X-Sollol-Via)
  std::string forwarded_for;  // X-Forwarded-For as it came: we add the peer
  std::string client;         // address of the peer
  bool secured = false;       // it speaks TLS with us
  std::string credential;     // the token of Authorization: Bearer or x-api-key
  std::string
      credential_fields;   // these fields as lines; they go on only where no keys are in force
  std::string fetch_site;  // Sec-Fetch-Site
  std::shared_ptr<const Key> key;  // null: none is asked for
  KeyUse key_use;                  // until the answer's end goes out
  std::uint64_t client_key = 0;    // who it is, for fair queueing
  cluster::Urgency urgency = cluster::Urgency::normal;
  http::Framing framing;
  int minor_version = 1;
  bool keep_alive = true;
  bool expects_continue = false;
  bool wants_reason = false;
  bool resume = true;  // not turned off by X-Sollol-Resume
  TimePoint arrived{};
  WallTime arrived_wall{};
  Outcome outcome;

  std::string_view path() const noexcept { return std::string_view(target).substr(0, path_length); }
  std::string_view query() const noexcept {
    return target.size() > path_length ? std::string_view(target).substr(path_length + 1)
                                       : std::string_view{};
  }
  bool is_head() const noexcept { return method == "HEAD"; }
  void clear();
};

/// Fills `out` from a parsed head. What is for the gateway alone, hop by hop or rewritten does not
/// reach `pass_fields`.
void take_head(const http::RequestHead& head, Request& out);

}  // namespace sollol::gateway
