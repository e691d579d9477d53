#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/health.h"
#include "cluster/learn.h"
#include "cluster/snapshot.h"

namespace sollol::cluster {

/// All known nodes and what is learnt about them. Owned by one thread, which is told everything and
/// the time; others see it through `snapshot()` and the live state behind it.
class Cluster {
 public:
  struct LoadedRecord {
    std::string key;
    std::uint32_t context_length = 0;
  };

  explicit Cluster(HealthOptions health) : health_options_(health) {}

  /// Error: bad_input when the name or the address is taken.
  Result<NodeId> add(NodeInfo info);
  bool remove(NodeId id);
  /// Gives a known node another name, tier, number of slots, origin or url; its live state, health
  /// and models stay. The name and the address must be free.
  void update(NodeId id, NodeInfo info);
  /// Limits of every node's health from now on.
  void set_health_options(HealthOptions health);
  std::uint32_t in_flight(NodeId id) const;
  Admin admin(NodeId id) const;
  /// What is known of the speed of the node's models, those included that it was told to `remember`
  /// and has not listed yet; by key.
  LearntNode learnt(NodeId id) const;
  /// What was learnt in an earlier life: taken up for each model when the node lists it with the
  /// same digest.
  void remember(NodeId id, LearntNode learnt);
  void set_admin(NodeId id, Admin admin);
  void set_addresses(NodeId id, std::vector<Address> addresses);
  /// Where each node is; one that is not named is not known to share anything. Nodes that share a
  /// machine or a device from now on count their requests together. A group keeps the counter of
  /// one of its nodes where it had one. O(n log n).
  void set_places(const std::map<NodeId, NodePlace>& places);
  /// What `/api/tags` said. Replicas keep their live state while the model stays.
  void set_models(NodeId id, std::vector<ModelRecord> models);
  /// What `/api/ps`, asked at `asked`, said. A model with work of ours in flight or done since
  /// counts as loaded whatever it says: a loading model is not listed (reference §8).
  void set_loaded(NodeId id, const std::vector<LoadedRecord>& loaded, TimePoint asked);

  /// Runs `change` on the node's health and publishes the availability that follows.
  void update_health(NodeId id, TimePoint now, const std::function<void(NodeHealth&)>& change);
  /// A trial request that told nothing: the next request is the trial.
  void free_trial(NodeId id);
  /// What others do on the node's machine, as its agent tells.
  struct Foreign {
    bool paused = false;  // its owner works there: it takes nothing new
    double slowdown = 1;  // times as long as without other programs' work
  };
  void set_foreign(NodeId id, const Foreign& foreign);
  void note_round_trip(NodeId id, Duration round_trip);
  /// Whether the node is woken when it is down and wanted; that a magic packet was sent to it.
  void set_wakeable(NodeId id, bool wakeable);
  void note_wake(NodeId id);
  /// Lets time pass for every node: ejections end, silence becomes death, what is known grows old.
  void tick(TimePoint now);

  /// Availability as last published, before and after the change; called on every transition.
  using Transition =
      std::function<void(NodeId, Availability from, Availability to, std::string_view reason)>;
  void on_transition(Transition listener) { transition_ = std::move(listener); }

  const NodeHealth* health(NodeId id) const;
  const NodeInfo* info(NodeId id) const;
  std::vector<NodeId> nodes() const;
  /// Rebuilt on the first call after a change of nodes or models, else the same pointer.
  std::shared_ptr<const Snapshot> snapshot();

 private:
  struct Entry {
    NodeInfo info;
    NodeHealth health;
    std::shared_ptr<NodeLive> live;
    std::vector<Address> addresses;
    std::vector<ModelRecord> models;
    std::map<std::string, std::shared_ptr<ReplicaLive>, std::less<>> replicas;
    std::vector<LearntModel> remembered;
    NodePlace place;
    std::shared_ptr<SharedLoad> device_load;
    std::shared_ptr<SharedLoad> machine_load;
  };
  struct KnownModel {
    ModelId id;
    std::shared_ptr<ModelLive> live;
  };

  /// Nodes that share something, and where they keep its counter.
  using Group = std::vector<Entry*>;
  using LoadOf = std::shared_ptr<SharedLoad> Entry::*;

  static void share(const std::vector<Group>& groups, LoadOf load);
  void publish(NodeId id, Entry& entry, TimePoint now);
  void recall(Entry& entry, const ModelRecord& model, ReplicaLive& live);
  const KnownModel& known_model(const std::string& key);
  void forget_models();

  /// Models that are kept though no node lists them, beside as many as are listed.
  static constexpr std::size_t unlisted_models_max = 1000;

  HealthOptions health_options_;
  /// Half-lives are of a day.
  static constexpr Duration age_every = std::chrono::minutes(1);

  std::map<NodeId, Entry> entries_;
  TimePoint aged_at_{};
  std::map<std::string, KnownModel, std::less<>> known_models_;
  std::size_t forget_at_ = unlisted_models_max;  // known models
  std::uint32_t next_node_ = 0;
  std::uint32_t next_model_ = 0;
  std::uint64_t version_ = 0;
  std::shared_ptr<const Snapshot> snapshot_;
  Transition transition_;
};

}  // namespace sollol::cluster
