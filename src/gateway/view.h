#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/listing.h"
#include "cluster/snapshot.h"

namespace sollol::gateway {

/// What a node last said about itself, whole: what `/api/tags`, `/api/ps` and `/v1/models` are
/// answered from.
struct NodeListing {
  std::string version;
  std::vector<api::ModelEntry> models;
  std::vector<api::LoadedModel> loaded;
  bool listed = false;  // `/api/tags` has answered since the node was added
};

/// One immutable view of the fleet, taken once per request.
struct FleetView {
  std::shared_ptr<const cluster::Snapshot> cluster;
  std::vector<std::shared_ptr<const NodeListing>>
      listings;  // by index into cluster->nodes; never null
};

/// Hands the newest view from the control thread to the workers. Reading costs one atomic load
/// while nothing changed.
class ViewSource {
 public:
  void publish(std::shared_ptr<const FleetView> view) {
    const std::scoped_lock lock(mutex_);
    view_ = std::move(view);
    version_.fetch_add(1, std::memory_order_release);
  }
  std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }
  std::shared_ptr<const FleetView> get() const {
    const std::scoped_lock lock(mutex_);
    return view_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const FleetView> view_ =
      std::make_shared<const FleetView>(FleetView{std::make_shared<const cluster::Snapshot>(), {}});
  std::atomic<std::uint64_t> version_{1};
};

/// One thread's cached copy of the newest view.
class ViewReader {
 public:
  explicit ViewReader(const ViewSource& source) : source_(source), view_(source.get()) {}
  const std::shared_ptr<const FleetView>& current() {
    if (const std::uint64_t newest = source_.version(); newest != version_) {
      view_ = source_.get();
      version_ = newest;
    }
    return view_;
  }

 private:
  const ViewSource& source_;
  std::shared_ptr<const FleetView> view_;
  std::uint64_t version_ = 0;
};

}  // namespace sollol::gateway
