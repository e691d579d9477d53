#include <algorithm>
#include <iterator>

#include "doctor/checks.h"

namespace sollol::doctor {

std::string_view name(Level level) noexcept {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::note:
      return "note";
    case Level::warn:
      return "warn";
    case Level::bad:
      return "bad";
  }
  return "bad";
}

Findings examine(const Facts& facts, const Rules& rules) {
  Findings all;
  const auto add = [&all](Findings some) { std::ranges::move(some, std::back_inserter(all)); };
  add(check_gateway(facts));
  add(check_nodes(facts, rules));
  add(check_entries(facts));
  add(check_duplicates(facts));
  add(check_parallel(facts));
  add(check_speed(facts, rules));
  add(check_discovery(facts, rules));
  add(check_versions(facts));
  add(check_contexts(facts));
  add(check_thrashing(facts));
  add(check_models(facts));
  add(check_clock(facts, rules));
  add(check_files(facts, rules));
  add(check_port(facts));
  return all;
}

}  // namespace sollol::doctor
