#include "discovery/import_yaml.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace sollol::discovery {

void ImportDraft::leave_out(const YAML::Node& where, std::string_view key, std::string_view why) {
  const auto line = where ? where.Mark().line : -1;
  result_.left_out.push_back(line < 0 ? fmt::format("{}: {}", key, why)
                                      : fmt::format("line {}: {}: {}", line + 1, key, why));
}

void ImportDraft::set(std::string key, std::variant<std::int64_t, double, std::string> value) {
  const auto known = std::ranges::find(result_.settings, key, &ImportedSetting::key);
  if (known == result_.settings.end())
    result_.settings.push_back({std::move(key), std::move(value)});
}

void ImportDraft::add(const YAML::Node& where, std::string_view key, NodeSpec node,
                      std::int64_t rank) {
  const auto known = std::ranges::find(result_.nodes, address_key(node), address_key);
  if (known == result_.nodes.end()) {
    result_.nodes.push_back(std::move(node));
    ranks_.push_back(rank);
    return;
  }
  auto& old = ranks_[static_cast<std::size_t>(known - result_.nodes.begin())];
  if (rank != old)
    leave_out(where, key,
              "the same node again with another priority; the more preferred one is kept");
  old = std::min(old, rank);
}

Imported ImportDraft::finish() && {
  const std::set<std::int64_t> tiers(ranks_.begin(), ranks_.end());
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    result_.nodes[i].priority =
        static_cast<std::uint32_t>(std::distance(tiers.begin(), tiers.find(ranks_[i])));
  }
  unique_names(result_.nodes);
  return std::move(result_);
}

std::optional<std::string> scalar(const YAML::Node& node) {
  if (!node || !node.IsScalar()) return std::nullopt;
  return node.Scalar();
}

std::optional<std::int64_t> whole_number(const YAML::Node& node) {
  const auto text = scalar(node);
  if (!text) return std::nullopt;
  std::int64_t value = 0;
  const auto* const end = text->data() + text->size();
  const auto [stop, failure] = std::from_chars(text->data(), end, value);
  if (failure != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::optional<double> seconds(const YAML::Node& node) {
  static const std::map<std::string_view, double> units = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3},
                                                           {"s", 1},     {"m", 60},    {"h", 3600}};
  const auto text = scalar(node);
  if (!text || text->empty()) return std::nullopt;
  double total = 0;
  for (std::string_view rest = *text; !rest.empty();) {
    const auto length = std::min(rest.find_first_not_of("0123456789."), rest.size());
    double number = 0;
    const auto [stop, failure] = std::from_chars(rest.data(), rest.data() + length, number);
    if (length == 0 || failure != std::errc{} || stop != rest.data() + length) return std::nullopt;
    rest.remove_prefix(length);
    const auto unit_length = std::min(rest.find_first_of("0123456789."), rest.size());
    const auto unit = units.find(unit_length == 0 ? "s" : rest.substr(0, unit_length));
    if (unit == units.end()) return std::nullopt;
    total += number * unit->second;
    rest.remove_prefix(unit_length);
  }
  return total;
}

void leave_out_others(ImportDraft& draft, const YAML::Node& section, std::string_view prefix,
                      const std::vector<std::string_view>& handled, std::string_view why) {
  if (!is_map(section)) return;
  for (const auto& member : section) {
    const auto key = scalar(member.first).value_or("?");
    if (std::ranges::find(handled, key) != handled.end()) continue;
    draft.leave_out(member.first, prefix.empty() ? key : fmt::format("{}.{}", prefix, key), why);
  }
}

}  // namespace sollol::discovery
