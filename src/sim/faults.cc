#include "sim/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sollol::sim {
namespace {

constexpr std::pair<std::string_view, FaultKind> kinds[] = {
    {"none", FaultKind::none},
    {"refuse", FaultKind::refuse},
    {"reset", FaultKind::reset},
    {"reset_after_head", FaultKind::reset_after_head},
    {"starting", FaultKind::starting},
    {"stall", FaultKind::stall},
    {"stall_after_tokens", FaultKind::stall_after_tokens},
    {"die_after_tokens", FaultKind::die_after_tokens},
    {"end_after_tokens", FaultKind::end_after_tokens},
    {"error", FaultKind::error},
    {"error_after_tokens", FaultKind::error_after_tokens},
    {"busy", FaultKind::busy},
    {"slow_ps", FaultKind::slow_ps},
    {"content_type", FaultKind::content_type},
    {"garbage", FaultKind::garbage},
    {"empty", FaultKind::empty},
    {"slow", FaultKind::slow},
    {"half_close", FaultKind::half_close},
    {"cut_in_chunk", FaultKind::cut_in_chunk},
    {"bad_chunk", FaultKind::bad_chunk},
    {"half_record", FaultKind::half_record},
    {"garbage_record", FaultKind::garbage_record},
    {"long_length", FaultKind::long_length},
    {"short_length", FaultKind::short_length},
    {"foreign", FaultKind::foreign},
};

bool of_connection(FaultKind kind) {
  return kind == FaultKind::refuse || kind == FaultKind::reset || kind == FaultKind::starting;
}

}  // namespace

template <class Predicate>
FaultSpec Faults::draw_if(Predicate wanted) {
  for (auto& spec : specs_) {
    if (spec.kind == FaultKind::none || !wanted(spec) || spec.count == 0U) continue;
    if (spec.probability < 1 &&
        static_cast<double>(random_.bits() >> 11) * 0x1p-53 >= spec.probability)
      continue;
    if (spec.count) --*spec.count;
    return spec;
  }
  return {};
}

FaultSpec Faults::draw(FaultScope route) {
  return draw_if([route](const FaultSpec& spec) {
    const bool in_scope = route == FaultScope::inference || spec.scope == FaultScope::all;
    return in_scope && !of_connection(spec.kind) && spec.kind != FaultKind::slow_ps;
  });
}

FaultSpec Faults::draw_connection() {
  return draw_if([](const FaultSpec& spec) { return of_connection(spec.kind); });
}

FaultSpec Faults::draw_ps() {
  return draw_if([](const FaultSpec& spec) { return spec.kind == FaultKind::slow_ps; });
}

bool Faults::refuses() const {
  return std::ranges::find(specs_, FaultKind::refuse, &FaultSpec::kind) != specs_.end();
}

std::optional<FaultKind> fault_kind(std::string_view name) {
  const auto* found =
      std::ranges::find(kinds, name, &std::pair<std::string_view, FaultKind>::first);
  if (found == std::end(kinds)) return std::nullopt;
  return found->second;
}

std::string_view fault_name(FaultKind kind) {
  return std::ranges::find(kinds, kind, &std::pair<std::string_view, FaultKind>::second)->first;
}

std::string fault_names() {
  std::string out;
  for (const auto& [name, kind] : kinds) out += fmt::format("{}{}", out.empty() ? "" : ", ", name);
  return out;
}

Result<FaultSpec> parse_fault(std::string_view text) {
  const auto colon = text.find(':');
  const auto kind = fault_kind(text.substr(0, colon));
  if (!kind) {
    return std::unexpected(bad_input(
        fmt::format("'{}' is no fault; one of: {}", text.substr(0, colon), fault_names())));
  }
  FaultSpec spec{.kind = *kind};
  if (colon == text.npos) return spec;
  const auto parameter = text.substr(colon + 1);
  double number = 0;
  const auto [end, error] =
      std::from_chars(parameter.data(), parameter.data() + parameter.size(), number);
  if (error != std::errc{} || end != parameter.data() + parameter.size() || number < 0) {
    return std::unexpected(
        bad_input(fmt::format("fault '{}': '{}' is no number", text, parameter)));
  }
  switch (*kind) {
    case FaultKind::error:
      spec.status = static_cast<int>(number);
      break;
    case FaultKind::slow:
      spec.factor = number;
      break;
    case FaultKind::slow_ps:
      spec.delay = from_seconds(number);
      break;
    default:
      spec.tokens = static_cast<std::uint32_t>(number);
  }
  return spec;
}

}  // namespace sollol::sim
