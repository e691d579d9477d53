#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "base/time.h"
#include "net/scheduler.h"
#include "net/task.h"

namespace sollol::agent {

struct ServerOptions {
  Address at = {.ip = "127.0.0.1", .port = 11436};
  std::string token = {};            // what a caller must show; empty: nobody need show anything
  std::size_t connections_max = 32;  // more are refused with 503
  std::size_t head_bytes = 8192;     // of a request
  Duration request_time = std::chrono::seconds(5);  // from connecting until the head is whole
  Duration answer_time = std::chrono::seconds(10);  // the peer takes some of the answer within
};

inline constexpr std::size_t token_bytes_min = 16;
inline constexpr std::size_t token_bytes_max = 512;

/// The token in the text of a file or variable: white space around it does not count.
/// Error: bad_input when it is shorter than `token_bytes_min`, longer than `token_bytes_max` or
/// holds anything but visible ASCII.
Result<std::string> parse_token(std::string_view text);

/// Whether two tokens are equal, in a time that tells nothing of where they differ.
bool same_token(std::string_view a, std::string_view b);

/// One small HTTP/1.1 service: GET /sollol/agent/v1/report, one request a connection.
///
/// With a token, a report is given only for `Authorization: Bearer TOKEN`. Without one, only where
/// the request names the machine by an IP address or as localhost: a web page that has its own name
/// resolve to this machine gets nothing. One thread, the context's.
class Server {
 public:
  /// `report` gives the JSON text; called for each request that may see it.
  /// Error: bad_input for an address beyond loopback without a token; refused when it is taken.
  static Result<std::unique_ptr<Server>> open(net::asio::io_context& context,
                                              net::Scheduler& scheduler, ServerOptions options,
                                              std::function<std::string()> report);
  ~Server();

  Address address() const;
  /// Closes the listener and all connections; the tasks end when the context runs on.
  void stop();

  struct Impl;

 private:
  explicit Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace sollol::agent
