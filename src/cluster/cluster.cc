#include "cluster/cluster.h"

#include <algorithm>
#include <set>

namespace sollol::cluster {

namespace {

/// Of weights in four bits with their scales, as most models come (Q4_K_M).
constexpr double bytes_per_weight = 0.6;

double weights_of(const ModelRecord& model) {
  return model.weights > 0 ? model.weights
                           : static_cast<double>(model.size_bytes) / bytes_per_weight;
}

void rank(Model& model, const std::vector<Node>& nodes) {
  const auto tier = [&](const Replica& replica) { return nodes[replica.node].info.tier; };
  std::ranges::sort(model.replicas, {},
                    [&](const Replica& replica) { return std::pair(tier(replica), replica.node); });
  const auto worse = std::ranges::find_if(model.replicas, [&](const Replica& replica) {
    return tier(replica) > tier(model.replicas[0]);
  });
  model.best_tier_count = static_cast<std::size_t>(worse - model.replicas.begin());
}

}  // namespace

std::string host_field(const NodeInfo& info) { return to_string(Address{info.host, info.port}); }

Result<NodeId> Cluster::add(NodeInfo info) {
  for (const auto& [id, entry] : entries_) {
    if (entry.info.name == info.name) {
      return std::unexpected(
          bad_input("name: a node called '" + info.name + "' exists; choose another name"));
    }
    if (entry.info.host == info.host && entry.info.port == info.port) {
      return std::unexpected(
          bad_input("url: " + info.url + " is already the node '" + entry.info.name + "'"));
    }
  }
  const NodeId id{next_node_++};
  entries_.emplace(id, Entry{std::move(info),
                             NodeHealth(health_options_),
                             std::make_shared<NodeLive>(),
                             {},
                             {},
                             {},
                             {},
                             {},
                             {},
                             {}});
  snapshot_ = nullptr;
  return id;
}

bool Cluster::remove(NodeId id) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return false;
  it->second.live->admin =
      Admin::disabled;  // requests that hold an older snapshot must not choose it
  entries_.erase(it);
  snapshot_ = nullptr;
  return true;
}

void Cluster::update(NodeId id, NodeInfo info) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  if (entry.info.slots != info.slots) {
    for (const auto& [key, live] : entry.replicas) {
      const std::scoped_lock lock(live->learning);
      live->slots.configure(info.slots);
      live->limit = live->slots.limit();
    }
  }
  entry.info = std::move(info);
  snapshot_ = nullptr;
}

void Cluster::set_health_options(HealthOptions health) {
  health_options_ = health;
  for (auto& [id, entry] : entries_) entry.health.set_options(health);
}

std::uint32_t Cluster::in_flight(NodeId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? 0 : it->second.live->in_flight.load();
}

Admin Cluster::admin(NodeId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? Admin::disabled : it->second.live->admin.load();
}

LearntNode Cluster::learnt(NodeId id) const {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return {};
  LearntNode out{.decode_bytes_per_s = it->second.live->decode_bytes_per_s,
                 .prefill_weights_per_s = it->second.live->prefill_weights_per_s,
                 .load_bytes_per_s = it->second.live->load_bytes_per_s,
                 .models = it->second.remembered};
  for (const ModelRecord& model : it->second.models) {
    auto known = cluster::learnt(*it->second.replicas.at(model.key));
    if (!known) continue;
    known->key = model.key;
    known->digest = model.digest;
    const auto text = known_models_.find(model.key);
    if (text != known_models_.end() &&
        text->second.live->bytes_per_token != ModelLive::bytes_per_token_guess)
      known->bytes_per_token = text->second.live->bytes_per_token;
    out.models.push_back(std::move(*known));
  }
  std::ranges::sort(out.models, {}, &LearntModel::key);
  return out;
}

void Cluster::remember(NodeId id, LearntNode learnt) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  it->second.live->decode_bytes_per_s = learnt.decode_bytes_per_s;
  it->second.live->prefill_weights_per_s = learnt.prefill_weights_per_s;
  it->second.live->load_bytes_per_s = learnt.load_bytes_per_s;
  it->second.remembered = std::move(learnt.models);
}

void Cluster::recall(Entry& entry, const ModelRecord& model, ReplicaLive& live) {
  const auto found = std::ranges::find(entry.remembered, model.key, &LearntModel::key);
  if (found == entry.remembered.end()) return;
  if (found->digest == model.digest) {
    restore(live, *found);
    aged_at_ = {};
    std::atomic<double>& text = known_model(model.key).live->bytes_per_token;
    if (found->bytes_per_token > 0 && text == ModelLive::bytes_per_token_guess)
      text = found->bytes_per_token;
  }
  entry.remembered.erase(found);
}

void Cluster::set_admin(NodeId id, Admin admin) {
  if (const auto it = entries_.find(id); it != entries_.end()) it->second.live->admin = admin;
}

void Cluster::set_addresses(NodeId id, std::vector<Address> addresses) {
  const auto it = entries_.find(id);
  if (it == entries_.end() || it->second.addresses == addresses) return;
  it->second.addresses = std::move(addresses);
  snapshot_ = nullptr;
}

void Cluster::set_places(const std::map<NodeId, NodePlace>& places) {
  std::map<std::string, Group> by_machine;
  std::map<std::pair<std::string, std::string>, Group> by_device;
  std::vector<Group> machines;
  std::vector<Group> devices;
  bool changed = false;
  for (auto& [id, entry] : entries_) {
    const auto place = places.find(id);
    const NodePlace now = place == places.end() ? NodePlace{} : place->second;
    changed = changed || entry.place != now;
    entry.place = now;
    if (now.machine.empty()) {
      machines.push_back({&entry});
      devices.push_back({&entry});
      continue;
    }
    by_machine[now.machine].push_back(&entry);
    by_device[{now.machine, now.device}].push_back(&entry);
  }
  if (!changed) return;
  for (auto& [device, nodes] : by_device) {
    Group& machine = by_machine.at(device.first);
    // A machine with a single device needs no second counter of the same requests.
    if (nodes.size() == machine.size()) {
      for (Entry* entry : machine) machines.push_back({entry});
      machine.clear();
    }
    devices.push_back(std::move(nodes));
  }
  for (auto& [machine, nodes] : by_machine) machines.push_back(std::move(nodes));
  share(devices, &Entry::device_load);
  share(machines, &Entry::machine_load);
  snapshot_ = nullptr;
}

/// Gives each group one counter: one that its nodes had, unless another group has it now.
void Cluster::share(const std::vector<Group>& groups, LoadOf load) {
  std::set<const SharedLoad*> taken;
  for (const Group& group : groups) {
    std::shared_ptr<SharedLoad> counter;
    for (const Entry* entry : group) {
      if (counter == nullptr && !taken.contains((entry->*load).get())) counter = entry->*load;
    }
    if (counter == nullptr) counter = std::make_shared<SharedLoad>();
    taken.insert(counter.get());
    for (Entry* entry : group) entry->*load = group.size() < 2 ? nullptr : counter;
  }
}

void Cluster::set_models(NodeId id, std::vector<ModelRecord> models) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  // Two spellings of one model are one replica.
  std::ranges::sort(models, {}, [](const ModelRecord& m) { return std::pair(m.key, m.name); });
  const auto repeated = std::ranges::unique(models, {}, &ModelRecord::key);
  models.erase(repeated.begin(), repeated.end());
  const auto same = [](const ModelRecord& a, const ModelRecord& b) {
    return a.key == b.key && a.name == b.name && a.digest == b.digest &&
           a.size_bytes == b.size_bytes && a.remote == b.remote && a.weights == b.weights;
  };
  if (std::ranges::equal(entry.models, models, same)) return;
  entry.models = std::move(models);
  for (const ModelRecord& model : entry.models) {
    auto& live = entry.replicas[model.key];
    if (live != nullptr) continue;
    live = std::make_shared<ReplicaLive>(entry.info.slots);
    recall(entry, model, *live);
  }
  std::set<std::string_view> listed;
  for (const ModelRecord& model : entry.models) listed.insert(model.key);
  std::erase_if(entry.replicas,
                [&](const auto& replica) { return !listed.contains(replica.first); });
  forget_models();
  snapshot_ = nullptr;
}

void Cluster::set_loaded(NodeId id, const std::vector<LoadedRecord>& loaded, TimePoint asked) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  NodeLive& node = *it->second.live;
  const std::int64_t asked_ns = asked.time_since_epoch().count();
  const auto count = static_cast<std::uint32_t>(loaded.size());
  node.models_loaded = count;
  node.models_loaded_max = std::max(node.models_loaded_max.load(), count);
  std::map<std::string_view, const LoadedRecord*> listed;
  for (const LoadedRecord& record : loaded) listed.emplace(record.key, &record);
  for (auto& [key, live] : it->second.replicas) {
    // A list asked before a load of ours ended shows the runner that it replaces, or nothing.
    if (live->loading_since_ns != 0 || asked_ns < live->load_ended_ns) continue;
    const auto found = listed.find(key);
    if (found != listed.end()) {
      live->loaded_context = found->second->context_length;
      live->loaded = true;
    } else if (live->in_flight == 0 && live->used_at_ns < asked_ns) {
      live->loaded_context = 0;
      live->loaded = false;
    }
  }
}

void Cluster::update_health(NodeId id, TimePoint now,
                            const std::function<void(NodeHealth&)>& change) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  change(it->second.health);
  publish(id, it->second, now);
}

void Cluster::free_trial(NodeId id) {
  const auto it = entries_.find(id);
  if (it != entries_.end() && it->second.live->availability == Availability::trial)
    it->second.live->trial_free = true;
}

void Cluster::note_round_trip(NodeId id, Duration round_trip) {
  const auto it = entries_.find(id);
  if (it != entries_.end()) smooth(it->second.live->round_trip_s, to_seconds(round_trip));
}

void Cluster::set_foreign(NodeId id, const Foreign& foreign) {
  const auto it = entries_.find(id);
  if (it == entries_.end()) return;
  it->second.live->paused = foreign.paused;
  it->second.live->foreign_slowdown = static_cast<float>(foreign.slowdown);
}

void Cluster::set_wakeable(NodeId id, bool wakeable) {
  if (const auto it = entries_.find(id); it != entries_.end()) it->second.live->wakeable = wakeable;
}

void Cluster::note_wake(NodeId id) {
  if (const auto it = entries_.find(id); it != entries_.end()) ++it->second.live->wakes;
}

void Cluster::tick(TimePoint now) {
  for (auto& [id, entry] : entries_) publish(id, entry, now);
  if (aged_at_ != TimePoint{} && now - aged_at_ < age_every) return;
  aged_at_ = now;
  for (auto& [id, entry] : entries_) {
    for (auto& [key, live] : entry.replicas) grow_older(*live, now);
  }
}

void Cluster::publish(NodeId id, Entry& entry, TimePoint now) {
  const Availability before = entry.live->availability;
  const Availability after = entry.health.availability(now);
  entry.live->wants_outcomes = entry.health.under_watch();
  if (before == after) return;
  if (after == Availability::trial) entry.live->trial_free = true;
  entry.live->availability = after;
  if (transition_) transition_(id, before, after, entry.health.reason());
}

/// What no node lists any more is forgotten once there is much of it: nodes whose lists change must
/// not fill the memory.
void Cluster::forget_models() {
  if (known_models_.size() <= forget_at_) return;
  std::erase_if(known_models_, [this](const auto& known) {
    return std::ranges::none_of(
        entries_, [&](const auto& entry) { return entry.second.replicas.contains(known.first); });
  });
  forget_at_ = 2 * known_models_.size() + unlisted_models_max;
}

const NodeHealth* Cluster::health(NodeId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second.health;
}

const NodeInfo* Cluster::info(NodeId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second.info;
}

std::vector<NodeId> Cluster::nodes() const {
  std::vector<NodeId> ids;
  for (const auto& [id, entry] : entries_) ids.push_back(id);
  return ids;
}

const Cluster::KnownModel& Cluster::known_model(const std::string& key) {
  const auto it = known_models_.find(key);
  if (it != known_models_.end()) return it->second;
  const ModelId id{next_model_++};
  return known_models_.emplace(key, KnownModel{id, std::make_shared<ModelLive>()}).first->second;
}

std::shared_ptr<const Snapshot> Cluster::snapshot() {
  if (snapshot_ != nullptr) return snapshot_;
  auto built = std::make_shared<Snapshot>();
  built->version = ++version_;
  built->nodes.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) {
    for (const ModelRecord& record : entry.models) {
      auto [it, fresh] = built->models.try_emplace(
          record.key, Model{.id = ModelId{0}, .key = record.key, .name = record.name});
      Model& model = it->second;
      if (fresh) {
        const KnownModel& known = known_model(record.key);
        model.id = known.id;
        model.key_hash = std::hash<std::string_view>{}(record.key);
        model.live = known.live;
      }
      model.replicas.push_back({built->nodes.size(), entry.replicas.at(record.key), record.digest,
                                record.size_bytes, record.remote, weights_of(record)});
    }
    built->nodes.push_back({id, entry.info, host_field(entry.info), entry.addresses, entry.live,
                            entry.place, entry.device_load, entry.machine_load});
  }
  for (auto& [key, model] : built->models) rank(model, built->nodes);
  snapshot_ = std::move(built);
  return snapshot_;
}

}  // namespace sollol::cluster
