// What an untrusted machine may send as its agent's report: what is taken is bounded, and its own
// JSON reads back as the same.
#include "agent/report.h"
#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const agent::ReportLimits limits{.gpus_max = 3,
                                   .nodes_max = 3,
                                   .addresses_max = 3,
                                   .processes_max = 3,
                                   .notes_max = 3,
                                   .text_max = 16};
  const auto report = agent::parse_report(fuzz::text(data, size), limits);
  if (!report) return 0;
  fuzz::require(report->gpus.size() <= 3 && report->nodes.size() <= 3 && report->notes.size() <= 3);
  fuzz::require(report->machine.addresses.size() <= 3 && report->machine.hostname.size() <= 16);
  for (const auto& gpu : report->gpus)
    fuzz::require(!gpu.uuid.empty() && gpu.processes.size() <= 3);
  const auto again = agent::parse_report(agent::to_json(*report), limits);
  fuzz::require(again.has_value() && again->gpus == report->gpus && again->nodes == report->nodes &&
                again->owner == report->owner);
  (void)agent::to_text(*report);
  return 0;
}
