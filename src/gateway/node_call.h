#pragma once

#include <memory>
#include <string>

#include "gateway/worker.h"

namespace sollol::gateway {

/// A request of the gateway's own to one node, on a connection of its own.
class NodeCall {
 public:
  NodeCall(Worker& worker, const cluster::Node& node) : worker_(worker), node_(node) {}

  /// Connects and sends `head_fields` (whole lines) and the body, or only the head when `body` is
  /// to follow by `write`.
  net::Task<Result<void>> send(std::string_view method, std::string_view target, std::string fields,
                               std::string body);
  net::Task<Result<const http::ResponseHead*>> receive_head(std::string_view method);
  net::HttpCall& call() noexcept { return *call_; }
  /// Writes raw bytes of a body.
  net::Task<net::Wake> write(std::string bytes);
  /// Ends every wait of this call.
  void cancel();
  const cluster::Node& node() const noexcept { return node_; }

 private:
  Worker& worker_;
  const cluster::Node& node_;
  std::unique_ptr<net::Stream> stream_;
  std::optional<net::HttpCall> call_;
  bool cancelled_ = false;
};

}  // namespace sollol::gateway
