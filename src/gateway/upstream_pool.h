#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "gateway/options.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace sollol::gateway {

/// One worker's connections to nodes: the idle ones, kept for the next request, and those in use,
/// so that they can be given up together when their node dies. One thread.
class UpstreamPool {
 public:
  UpstreamPool(const UpstreamOptions& options, net::Scheduler& scheduler)
      : options_(options), scheduler_(scheduler) {}

  /// Limits from now on.
  void configure(const UpstreamOptions& options) { options_ = options; }

  /// The idle connection used last, or null. Idle ones are watched: what the node closed is gone
  /// from here.
  std::unique_ptr<net::Stream> take(NodeId node);
  void keep(NodeId node, std::unique_ptr<net::Stream> stream);

  /// A request under way at a node; `abandon` is called when the node is found dead.
  class InUse {
   public:
    InUse(UpstreamPool& pool, NodeId node, std::function<void()> abandon);
    ~InUse();
    InUse(const InUse&) = delete;
    InUse& operator=(const InUse&) = delete;

   private:
    friend class UpstreamPool;
    UpstreamPool& pool_;
    NodeId node_;
    std::function<void()> abandon_;
  };
  /// The node is dead: drops its idle connections and abandons the requests under way.
  void node_down(NodeId node);
  /// The node is no longer ours: drops its idle connections; requests under way go on.
  void forget(NodeId node);

 private:
  struct Link {
    std::vector<std::unique_ptr<net::Stream>> idle;
    std::unordered_set<InUse*> in_use;
  };
  void drop_idle(NodeId node, const net::Stream* stream);

  UpstreamOptions options_;
  net::Scheduler& scheduler_;
  std::unordered_map<NodeId, Link> links_;
};

}  // namespace sollol::gateway
