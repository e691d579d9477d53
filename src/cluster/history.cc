#include "cluster/history.h"

#include <algorithm>
#include <cmath>

namespace sollol::cluster {

namespace {

constexpr double samples_enough = 3;  // of a client's own before they are believed
constexpr std::uint64_t anybody = 0;

std::uint64_t length_key(std::uint64_t model, std::uint64_t client) {
  std::uint64_t key = client ^ model * 0x9e3779b97f4a7c15ULL;
  key = (key ^ key >> 31) * 0xbf58476d1ce4e5b9ULL;
  return key ^ key >> 29;
}

}  // namespace

double History::expected_tokens(std::uint64_t model, std::uint64_t client) const {
  for (const std::uint64_t who : {client, anybody}) {
    const auto known = lengths_.find(length_key(model, who));
    if (!known || (who != anybody && known->samples() < samples_enough)) continue;
    // The mean of what is spread evenly in its logarithm lies above its middle.
    const double spread = std::min(known->spread(), 1.0);
    return known->value() * std::exp(spread * spread / 2);
  }
  return tokens_when_unknown;
}

void History::note_length(std::uint64_t model, std::uint64_t client, double tokens, TimePoint now) {
  const auto note = [&](Estimate& length) { length.observe(std::max(tokens, 1.0), now); };
  if (client != anybody) lengths_.update(length_key(model, client), note);
  lengths_.update(length_key(model, anybody), note);
}

std::map<std::uint64_t, KeptEstimate> History::lengths() const {
  std::map<std::uint64_t, KeptEstimate> out;
  lengths_.for_each(
      [&](std::uint64_t key, const Estimate& length) { out.emplace(key, length.kept()); });
  return out;
}

void History::restore_lengths(const std::map<std::uint64_t, KeptEstimate>& lengths) {
  for (const auto& [key, kept] : lengths)
    lengths_.update(key, [&](Estimate& length) { length.restore(kept); });
}

}  // namespace sollol::cluster
