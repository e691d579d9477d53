#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string>

#include "sim/inference.h"

namespace sollol::sim {

/// The events and answers of `/v1/messages`.
class AnthropicWriter final : public AnswerWriter {
 public:
  /// `characters` of the request's text, for the estimate that message_start carries.
  AnthropicWriter(const Generation& request, std::size_t characters);

  std::string_view stream_type() const override { return sse_type; }
  bool stream() const override { return stream_; }
  std::string begin(std::uint32_t prompt_tokens) override;
  std::string piece(const Piece& piece) override;
  std::string last(const Piece& rest, const Final& final) override;
  std::string whole(const Piece& all, const Final& final) override;
  /// The stream just ends.
  std::string broken(std::string_view) override { return {}; }
  std::string loaded(std::string_view, Duration) override { return whole({}, {}); }
  std::string rendered(std::string_view) override { return whole({}, {}); }

 private:
  enum class Block : std::uint8_t { nothing, thinking, text };

  std::string open(Block block);
  std::string close();
  boost::json::object message(boost::json::array content, boost::json::value stop_reason,
                              boost::json::object usage) const;
  std::string_view stop_reason(const Final& final) const;

  bool stream_;
  std::size_t estimate_;
  std::string model_;
  std::string id_;
  Block open_ = Block::nothing;
  std::size_t index_ = 0;
  bool called_tools_ = false;
};

}  // namespace sollol::sim
