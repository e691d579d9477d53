#pragma once

#include <string>

#include "agent/report.h"
#include "base/address.h"
#include "net/connector.h"
#include "net/http_call.h"

namespace sollol::agent {

/// One question to an agent.
struct ReportRequest {
  Address at = {};
  std::string token = {};  // empty: none is shown
  TimePoint deadline = {};
  ReportLimits limits = {};
};

/// Fetches the report of the agent at an address, on a connection of its own.
///
/// The connector and scratch must outlive the call. Error: refused or timeout, nobody there;
/// untrusted, the agent does not take the token; not_found, something else listens there;
/// bad_reply, what it says is no report. Nothing is retried.
net::Task<Result<AgentReport>> fetch_report(net::Connector& connector, net::HttpScratch& scratch,
                                            ReportRequest request);

}  // namespace sollol::agent
