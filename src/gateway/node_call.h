#pragma once

#include <memory>
#include <string>

#include "gateway/worker.h"

namespace sollol::gateway {

/// A request of the gateway's own to one node, on a connection of its own. Given up when the node
/// is found dead meanwhile, unless it sent something just now.
class NodeCall {
 public:
  NodeCall(Worker& worker, const cluster::Node& node) : worker_(worker), node_(node) {}

  /// Connects and sends `head_fields` (whole lines) and the body, or only the head when `body` is
  /// to follow by `write`.
  net::Task<Result<void>> send(std::string_view method, std::string_view target, std::string fields,
                               std::string body);
  /// Waits for the answer until then, whatever `upstream.response_timeout_s` says.
  void wait_until(TimePoint deadline) noexcept { deadline_ = deadline; }
  /// Waits as long as `upstream.response_timeout_s` allows.
  net::Task<Result<const http::ResponseHead*>> receive_head(std::string_view method);
  /// The next bytes of the answer's body; follow `body()` with them.
  net::Task<Result<std::string_view>> receive();
  /// All of a body that is at most so long; its pieces follow each other within
  /// `upstream.head_timeout_s`.
  net::Task<Result<std::string>> receive_body(std::size_t bytes_max);
  http::BodyWatcher& body() noexcept { return call_->body(); }
  /// Writes raw bytes of a body.
  net::Task<net::Wake> write(std::string bytes);
  /// Ends every wait of this call.
  void cancel();
  const cluster::Node& node() const noexcept { return node_; }
  /// The node was found dead meanwhile.
  bool abandoned() const noexcept { return abandoned_; }

 private:
  Worker& worker_;
  const cluster::Node& node_;
  Error explained(Error error) const;

  std::unique_ptr<net::Stream> stream_;
  std::optional<net::HttpCall> call_;
  std::optional<UpstreamPool::InUse> in_use_;
  TimePoint last_byte_{};
  std::optional<TimePoint> deadline_;
  bool cancelled_ = false;
  bool abandoned_ = false;
};

}  // namespace sollol::gateway
