#include "gateway/upstream_pool.h"

#include <algorithm>

namespace sollol::gateway {

using net::Direction;

std::unique_ptr<net::Stream> UpstreamPool::take(NodeId node) {
  const auto it = links_.find(node);
  if (it == links_.end() || it->second.idle.empty()) return nullptr;
  std::unique_ptr<net::Stream> stream = std::move(it->second.idle.back());
  it->second.idle.pop_back();
  stream->forget(Direction::read);
  return stream;
}

void UpstreamPool::keep(NodeId node, std::unique_ptr<net::Stream> stream) {
  Link& link = links_[node];
  if (link.idle.size() >= options_.idle_connections_max) return;  // closes it
  // An idle node connection has nothing to say: any waking means that it is closed or unusable.
  stream->on_ready(Direction::read, scheduler_.now() + options_.idle_timeout,
                   [this, node, raw = stream.get()](net::Wake) { drop_idle(node, raw); });
  link.idle.push_back(std::move(stream));
}

void UpstreamPool::drop_idle(NodeId node, const net::Stream* stream) {
  auto& idle = links_[node].idle;
  std::erase_if(idle, [stream](const auto& held) { return held.get() == stream; });
}

void UpstreamPool::node_down(NodeId node) {
  const auto it = links_.find(node);
  if (it == links_.end()) return;
  it->second.idle.clear();
  const std::vector<InUse*> affected(it->second.in_use.begin(), it->second.in_use.end());
  for (InUse* request : affected) {
    // An abandoned one may end others of this node in its wake.
    if (it->second.in_use.contains(request)) request->abandon_();
  }
}

void UpstreamPool::forget(NodeId node) {
  const auto it = links_.find(node);
  if (it == links_.end()) return;
  it->second.idle.clear();
  if (it->second.in_use.empty()) links_.erase(it);
}

UpstreamPool::InUse::InUse(UpstreamPool& pool, NodeId node, std::function<void()> abandon)
    : pool_(pool), node_(node), abandon_(std::move(abandon)) {
  pool_.links_[node_].in_use.insert(this);
}

UpstreamPool::InUse::~InUse() { pool_.links_[node_].in_use.erase(this); }

}  // namespace sollol::gateway
