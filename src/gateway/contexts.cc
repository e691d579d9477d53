#include "gateway/contexts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "cluster/takes_work.h"
#include "gateway/keys.h"
#include "gateway/placement.h"
#include "gateway/request.h"

namespace sollol::gateway {

using cluster::ThrashWatch;
using Kind = ThrashWatch::Thrash::Kind;

namespace {

constexpr std::size_t wishes_told = 8;  // in one sentence

/// As the access log has it.
std::string client_of(const Request& request) {
  return request.outcome.key.empty() ? request.client : request.outcome.key;
}

std::string name_of(const cluster::Snapshot& snapshot, const std::string& key) {
  const cluster::Model* model = snapshot.find_model(key);
  return model == nullptr ? key : model->name;
}

/// Nodes that could be sent requests for the model.
std::size_t places(const cluster::Snapshot& snapshot, const std::string& key) {
  const cluster::Model* model = snapshot.find_model(key);
  if (model == nullptr) return 0;
  return static_cast<std::size_t>(
      std::ranges::count_if(model->replicas, [&](const cluster::Replica& replica) {
        return cluster::takes_work(*snapshot.nodes[replica.node].live);
      }));
}

/// Whether those that undo each other could keep to a node each.
bool could_part(const cluster::Snapshot& snapshot, const ThrashWatch::Thrash& thrash) {
  if (thrash.kind == Kind::options)
    return places(snapshot, thrash.models.front()) >= thrash.parties;
  return std::ranges::any_of(thrash.models,
                             [&](const std::string& key) { return places(snapshot, key) > 1; });
}

std::string wish_text(const Thrashing& thrashing, const ThrashWatch::Wish& wish) {
  if (thrashing.models.size() > 1) return fmt::format("{} wants {}", wish.client, wish.model);
  if (wish.num_ctx > 0) return fmt::format("{} wants num_ctx {}", wish.client, wish.num_ctx);
  return wish.options == 0 ? fmt::format("{} wants the node's own context", wish.client)
                           : fmt::format("{} wants other runner options", wish.client);
}

std::string text_of(const Thrashing& thrashing, Duration window) {
  std::string causes;
  for (std::size_t i = 0; i < thrashing.wishes.size() && i < wishes_told; ++i)
    causes += (i == 0 ? "" : ", ") + wish_text(thrashing, thrashing.wishes[i]);
  if (thrashing.wishes.size() > wishes_told)
    causes += fmt::format(" and {} more", thrashing.wishes.size() - wishes_told);
  if (thrashing.models.size() > 1) {
    return fmt::format(
        "{} loaded {} in turns, {} times within {:.0f} s: {}. Give it memory for all of them "
        "(OLLAMA_MAX_LOADED_MODELS), or pull one of them at another node too",
        thrashing.node, fmt::join(thrashing.models, " and "), thrashing.loads, to_seconds(window),
        causes);
  }
  std::uint32_t most = 0;
  for (const ThrashWatch::Wish& wish : thrashing.wishes) most = std::max(most, wish.num_ctx);
  const std::string pin =
      most == 0 ? std::string()
                : fmt::format("Set pin_num_ctx = [\"{}={}\"], or ", thrashing.models.front(), most);
  return fmt::format(
      "{} loaded {} again for other runner options, {} times within {:.0f} s: {}. {}{} the model "
      "at "
      "another node too",
      thrashing.node, thrashing.models.front(), thrashing.loads, to_seconds(window), causes, pin,
      pin.empty() ? "Pull" : "pull");
}

}  // namespace

const ContextPin* pin_of(const Options& options, std::string_view model_key) {
  const auto found = std::ranges::find_if(options.context_pins, [&](const ContextPin& pin) {
    return matches_model(pin.models, model_key);
  });
  return found == options.context_pins.end() ? nullptr : &*found;
}

void ContextWatch::load(const Request& request, const Work& work, const Slot& slot,
                        bool other_options, const LoadOptions& limits, TimePoint now) {
  if (work.model == nullptr) return;
  {
    const std::scoped_lock lock(mutex_);
    watch_.note({.node = slot.node().id,
                 .model = work.model->key,
                 .other_options = other_options,
                 .options = work.runner_key,
                 .num_ctx = work.num_ctx,
                 .client = client_of(request)},
                now, limits.thrash);
  }
  for (const Thrashing& one : thrashing(*work.view->cluster, limits, now)) {
    const std::scoped_lock lock(mutex_);
    std::erase_if(told_,
                  [&](const auto& told) { return told.second <= now - limits.thrash.window; });
    if (told_.emplace(std::pair(one.node, one.models), now).second)
      spdlog::warn("thrashing: {}", one.text);
  }
}

std::vector<Thrashing> ContextWatch::thrashing(const cluster::Snapshot& snapshot,
                                               const LoadOptions& limits, TimePoint now) {
  std::vector<ThrashWatch::Thrash> found;
  {
    const std::scoped_lock lock(mutex_);
    found = watch_.found(now, limits.thrash);
  }
  std::vector<Thrashing> out;
  for (ThrashWatch::Thrash& thrash : found) {
    const cluster::Node* node = snapshot.find_node(thrash.node);
    if (node == nullptr || could_part(snapshot, thrash)) continue;
    Thrashing one{.node = node->info.name,
                  .models = {},
                  .loads = thrash.loads,
                  .wishes = std::move(thrash.wishes),
                  .text = {}};
    for (const std::string& key : thrash.models) one.models.push_back(name_of(snapshot, key));
    for (ThrashWatch::Wish& wish : one.wishes) wish.model = name_of(snapshot, wish.model);
    one.text = text_of(one, limits.thrash.window);
    out.push_back(std::move(one));
  }
  return out;
}

void ContextWatch::cut(const Request& request, std::uint32_t wanted, const ContextPin& pin) {
  const std::uint64_t who = request.client_key ^ std::hash<std::string_view>{}(pin.models);
  bool told = false;
  cut_.update(who, [&told](bool& known) { told = std::exchange(known, true); });
  if (told) return;
  spdlog::warn(
      "{} asks for num_ctx {} of {}, which pin_num_ctx holds at {}: what does not fit is cut off "
      "the "
      "prompt by the node, silently",
      client_of(request), wanted, request.outcome.model, pin.num_ctx);
}

}  // namespace sollol::gateway
