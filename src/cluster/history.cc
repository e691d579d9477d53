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

/// Of how much of its limit an answer takes.
std::uint64_t part_key(std::uint64_t model, std::uint64_t client) {
  return length_key(~model, client);
}

}  // namespace

ExpectedLength History::expected_length(std::uint64_t model, std::uint64_t client,
                                        std::uint64_t limit) const {
  // Of what is spread evenly in its logarithm, the mean lies above the middle.
  const auto by = [](const Estimate& known, double unit) {
    const double spread = std::min(known.spread(), 1.0);
    return ExpectedLength{known.value() * unit * std::exp(spread * spread / 2), spread};
  };
  ExpectedLength expected{.tokens = tokens_when_unknown};
  for (const std::uint64_t who : {client, anybody}) {
    const auto known = lengths_.find(length_key(model, who));
    if (!known || (who != anybody && known->samples() < samples_enough)) continue;
    expected = by(*known, 1);
    break;
  }
  if (limit == 0) return expected;
  const auto most = static_cast<double>(limit);
  if (const auto part = lengths_.find(part_key(model, client));
      part && part->samples() >= samples_enough && part->spread() < expected.spread)
    expected = by(*part, most);
  return {std::min(expected.tokens, most), expected.spread};
}

void History::note_length(std::uint64_t model, std::uint64_t client, std::uint64_t limit,
                          double tokens, TimePoint now) {
  const double length = std::max(tokens, 1.0);
  const auto note = [&](Estimate& known) { known.observe(length, now); };
  if (client != anybody) lengths_.update(length_key(model, client), note);
  lengths_.update(length_key(model, anybody), note);
  if (limit == 0) return;
  lengths_.update(part_key(model, client),
                  [&](Estimate& part) { part.observe(length / static_cast<double>(limit), now); });
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
