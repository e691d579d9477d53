#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sim/clock.h"
#include "sim/exchange.h"
#include "sim/faults.h"
#include "sim/generation.h"
#include "sim/live_model.h"
#include "sim/manifest.h"
#include "sim/pull.h"
#include "sim/recorder.h"

namespace sollol::sim {

/// What the routes of one node work on. Owned by its NodeServer; all on the fleet's thread.
struct Node {
  const NodeSpec& spec;
  const SimClock& clock;
  Recorder& recorder;
  const Catalogue& catalogue;  // what can be pulled
  Store store;
  Downloads downloads;
  std::shared_ptr<LiveModel> live;  // replaced when the node is restarted
};

enum class ErrorForm : std::uint8_t { native, openai, anthropic };

/// One request on its way through a route.
struct Call {
  Exchange& exchange;
  Node& node;
  std::shared_ptr<LiveModel> live;  // of the node when the request came
  FaultSpec fault;
  ErrorForm form = ErrorForm::native;
  std::string parameter;  // what the path's last segment says, where the route has one
  TimePoint entered{};    // simulated
};

/// The body of an error answer.
std::string error_body(ErrorForm form, int status, std::string_view text);

/// What a route's coroutine returns: the error, in no form yet, when nothing has been sent.
using Handled = boost::asio::awaitable<ApiResult<void>>;

Handled reply_json(Call call, boost::json::value body);
Handled reply_text(Call call, std::string json);  // JSON that is written already
Handled reply_empty(Call call, int status);

/// The request's body as a JSON object.
ApiResult<boost::json::object> read_json(const Call& call);

/// The model that a request names; the error is the one of generate and chat.
ApiResult<ManifestPtr> find_model(const Call& call, std::string_view name);

inline constexpr std::string_view json_type = "application/json; charset=utf-8";
inline constexpr std::string_view ndjson_type = "application/x-ndjson";
inline constexpr std::string_view sse_type = "text/event-stream";

}  // namespace sollol::sim
