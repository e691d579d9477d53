#include "cluster/thrash.h"

#include <algorithm>
#include <set>
#include <utility>

namespace sollol::cluster {
namespace {

using Thrash = ThrashWatch::Thrash;

void add_wish(Thrash& thrash, const LoadCause& cause) {
  const auto same = std::ranges::find_if(thrash.wishes, [&](const ThrashWatch::Wish& wish) {
    return wish.client == cause.client && wish.model == cause.model &&
           wish.options == cause.options;
  });
  if (same != thrash.wishes.end()) {
    ++same->loads;
    return;
  }
  thrash.wishes.push_back({cause.client, cause.model, cause.options, cause.num_ctx, 1});
}

}  // namespace

void ThrashWatch::note(LoadCause cause, TimePoint now, const ThrashLimits& limits) {
  forget(now - limits.window);
  std::deque<Load>& loads = loads_[cause.node];
  const auto before = std::ranges::find_if(loads.rbegin(), loads.rend(), [&](const Load& load) {
    return load.cause.model == cause.model;
  });
  const bool again = !cause.other_options && before != loads.rend() && before != loads.rbegin();
  loads.push_back({std::move(cause), again, now});
  if (loads.size() > loads_kept) loads.pop_front();
}

std::vector<ThrashWatch::Thrash> ThrashWatch::found(TimePoint now, const ThrashLimits& limits) {
  forget(now - limits.window);
  std::vector<Thrash> out;
  if (limits.loads_max == 0) return out;
  for (const auto& [node, loads] : loads_) {
    std::map<std::string, std::uint32_t> reloads;
    Thrash models{.kind = Thrash::Kind::models, .node = node};
    std::set<std::string> again;
    for (const Load& load : loads) {
      if (load.cause.other_options) ++reloads[load.cause.model];
      if (!load.again) continue;
      ++models.loads;
      again.insert(load.cause.model);
    }
    for (const auto& [model, count] : reloads) {
      if (count <= limits.loads_max) continue;
      Thrash thrash{.node = node, .models = {model}, .loads = count};
      std::set<std::uint64_t> options;
      for (const Load& load : loads) {
        if (load.cause.model != model) continue;
        options.insert(load.cause.options);
        add_wish(thrash, load.cause);
      }
      thrash.parties = options.size();
      out.push_back(std::move(thrash));
    }
    if (models.loads <= limits.loads_max || again.size() < 2) continue;
    for (const Load& load : loads)
      if (again.contains(load.cause.model)) add_wish(models, load.cause);
    models.models.assign(again.begin(), again.end());
    models.parties = again.size();
    out.push_back(std::move(models));
  }
  return out;
}

void ThrashWatch::forget(TimePoint before) {
  for (auto& [node, loads] : loads_) {
    while (!loads.empty() && loads.front().at < before) loads.pop_front();
  }
  std::erase_if(loads_, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace sollol::cluster
