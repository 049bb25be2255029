// SPDX-License-Identifier: MIT
// open_engine: an engine over the model that the options of a program name.
#pragma once

#include "../tools/model_options.hpp"
#include "engine.hpp"
#include "served_model.hpp"

#include <bitnet/any.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace server {

/// The name of a file without its folder and its end.
[[nodiscard]] inline std::string name_of(const std::string& file) {
    const auto slash = file.find_last_of("/\\");
    const std::string name = slash == file.npos ? file : file.substr(slash + 1);
    const auto dot = name.rfind('.');
    return dot == name.npos || dot == 0 ? name : name.substr(0, dot);
}

/// Tells the model's notes on stderr. \param alias what the model is called; empty: by its file
[[nodiscard]] inline bitnet::result<std::unique_ptr<engine>>
open_engine(const tools::model_options& chosen, const std::string& alias, const engine_options& how) {
    auto model = tools::open_model(chosen.file, chosen.to_open(), chosen.isa, chosen.kv);
    if (!model) {
        return std::move(model).error();
    }
    for (const std::string& note : model->notes()) {
        std::fprintf(stderr, "note: %s\n", note.c_str());
    }
    if (!model->has_text()) {
        return bitnet::error{bitnet::errc::invalid_argument, chosen.file + ": the model has no tokenizer"};
    }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    auto served = served_model::open(*std::move(model), alias.empty() ? name_of(chosen.file) : alias,
                                     std::chrono::duration_cast<std::chrono::seconds>(now).count(), chosen.context,
                                     chosen.threads);
    if (!served) {
        return std::move(served).error();
    }
    return engine::open(*std::move(served), how);
}

} // namespace server
