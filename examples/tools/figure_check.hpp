// SPDX-License-Identifier: MIT
// figure_check: compares a file with published figures, one after the other.
#pragma once

#include "model_options.hpp"
#include "published_figures.hpp"
#include "sha256.hpp"

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tools {

/// One figure.
struct figure {
    std::string name;
    std::string expected;
    std::string found; ///< or why nothing was
    bool holds = false;
};

/// All figures of one file. What depends on a part that cannot be read is wrong and says why.
class figure_check {
public:
    figure_check(const published_figures& published, const model_options& chosen)
        : published_(published), chosen_(chosen) {}

    /// \return why the file cannot be read at all
    [[nodiscard]] bitnet::result<std::vector<figure>> run() {
        const auto source = bitnet::byte_source::open(chosen_.file);
        if (!source) {
            return bitnet::error{source.error()};
        }
        sha256 digest;
        digest.add(source->bytes());
        add("bytes", std::to_string(published_.bytes), std::to_string(source->bytes().size()));
        add("sha256", std::string(published_.sha256), digest.hex());
        const auto file = bitnet::gguf_file::parse(source->bytes(), source->name());
        check_header(file);
        check_parameters(file);
        const auto model = open_model(chosen_.file, chosen_.to_open(), chosen_.isa, chosen_.kv);
        check_tokenizer(model);
        for (const published_continuation& each : published_.continuations) {
            check(each, model);
        }
        return std::move(figures_);
    }

private:
    using text = bitnet::result<std::string>;

    void add(std::string name, std::string expected, const text& found) {
        const bool holds = found && *found == expected;
        figures_.push_back(
            {std::move(name), std::move(expected), found ? *found : "nothing (" + found.error().message + ")", holds});
    }
    /// The figure of what was opened, or why it was not.
    template <class T, class Make>
    void add_of(std::string name, std::string_view expected, const bitnet::result<T>& opened, Make&& make) {
        add(std::move(name), std::string(expected), opened ? text(make(*opened)) : text(bitnet::error{opened.error()}));
    }

    static std::string joined(std::span<const bitnet::token> ids) {
        std::string line;
        for (const bitnet::token id : ids) {
            line += (line.empty() ? "" : " ") + std::to_string(id);
        }
        return line;
    }
    static std::string shown(const char* format, double value) {
        char digits[64];
        std::snprintf(digits, sizeof digits, format, value);
        return digits;
    }

    static std::string types_of(const bitnet::gguf_file& file) {
        std::map<std::string_view, std::size_t> counts;
        for (const bitnet::gguf_tensor& tensor : file.tensors()) {
            ++counts[bitnet::name_of(tensor.type)];
        }
        std::string line;
        for (const auto& [type, count] : counts) {
            line += (line.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(type);
        }
        return line;
    }

    void check_header(const bitnet::result<bitnet::gguf_file>& file) {
        add_of("metadata keys", std::to_string(published_.keys), file,
               [](const auto& f) { return std::to_string(f.metadata().size()); });
        add_of("tensors", std::to_string(published_.tensors), file,
               [](const auto& f) { return std::to_string(f.tensors().size()); });
        add_of("types of tensors", published_.tensor_types, file, types_of);
        add_of("merges", std::to_string(published_.merges), file, [](const auto& f) {
            const auto* merges = f.find("tokenizer.ggml.merges");
            return std::to_string(merges != nullptr ? merges->count : 0);
        });
    }

    void check_parameters(const bitnet::result<bitnet::gguf_file>& file) {
        const auto read = file ? bitnet::hyper_parameters::read(*file)
                               : bitnet::result<bitnet::hyper_parameters>(bitnet::error{file.error()});
        add_of("architecture", published_.architecture, read, [](const auto& p) { return p.architecture; });
        add_of("name", published_.model_name, read, [](const auto& p) { return p.model_name; });
        add_of("layers, sizes, heads, context", published_.sizes, read, [](const auto& p) {
            return std::to_string(p.layers) + " layers, " + std::to_string(p.hidden) + ", " +
                   std::to_string(p.feed_forward) + ", " + std::to_string(p.heads) + " / " +
                   std::to_string(p.kv_heads) + " / " + std::to_string(p.head_size) + ", " + std::to_string(p.context);
        });
        add_of("RoPE theta, epsilon", published_.constants, read, [](const auto& p) {
            return shown("%g", static_cast<double>(p.rope_theta)) + ", " +
                   shown("%g", static_cast<double>(p.rms_epsilon));
        });
    }

    void check_tokenizer(const bitnet::result<bitnet::any_model>& model) {
        add_of("vocabulary", std::to_string(published_.vocabulary), model,
               [](const auto& m) { return std::to_string(m.text().vocabulary_size()); });
        add_of("BOS and EOS", published_.bos_and_eos, model, [](const auto& m) {
            return std::to_string(m.text().bos().value_or(bitnet::no_token)) + " " +
                   std::to_string(m.text().eos().value_or(bitnet::no_token));
        });
    }

    /// The tokens of the prompt, the largest logit after it and the answer.
    void check(const published_continuation& published, const bitnet::result<bitnet::any_model>& model) {
        const auto prompt = model ? tokens_of(*model, published.prompt)
                                  : bitnet::result<std::vector<bitnet::token>>(bitnet::error{model.error()});
        const std::string name = "\"" + std::string(published.prompt) + "\"";
        add_of("tokens of " + name, published.prompt_ids, prompt, [](const auto& ids) { return joined(ids); });
        auto session =
            prompt ? fed_session(*model, *prompt) : bitnet::result<bitnet::any_session>(bitnet::error{prompt.error()});
        if (published.first_logit != 0) {
            check_logit(published, name, session);
        }
        const std::string expected = std::string(published.answer_ids) + (published.stops ? " and stops" : "");
        add("greedy after " + name, expected,
            session ? answer(published, *model, *session) : text(bitnet::error{session.error()}));
    }

    static bitnet::result<std::vector<bitnet::token>> tokens_of(const bitnet::any_model& model,
                                                                std::string_view prompt) {
        std::vector<bitnet::token> ids;
        if (model.text().add_bos()) {
            ids.push_back(*model.text().bos());
        }
        if (auto done = model.text().encode(prompt, ids, {.parse_special = true}); !done) {
            return bitnet::error{done.error()};
        }
        return ids;
    }

    bitnet::result<bitnet::any_session> fed_session(const bitnet::any_model& model,
                                                    std::span<const bitnet::token> prompt) const {
        auto options = chosen_.to_session();
        options.context = 256; // the longest prompt and answer are much shorter
        auto session = bitnet::any_session::open(model, options);
        if (session) {
            if (auto fed = session->feed(prompt); !fed) {
                return bitnet::error{fed.error()};
            }
        }
        return session;
    }

    void check_logit(const published_continuation& published, const std::string& name,
                     bitnet::result<bitnet::any_session>& session) {
        const char* format = published.first_logit_tolerance < 0.001 ? "%.5f" : "%.2f";
        figure made{"largest logit after " + name,
                    shown(format, published.first_logit) + " within " + shown("%g", published.first_logit_tolerance),
                    {},
                    false};
        const auto largest =
            session ? session->largest_logits(1)
                    : bitnet::result<std::span<const bitnet::scored_token>>(bitnet::error{session.error()});
        if (largest) {
            const auto logit = static_cast<double>(largest->front().logit);
            made.found = shown(format, logit);
            made.holds = std::abs(logit - published.first_logit) <= published.first_logit_tolerance;
        } else {
            made.found = "nothing (" + largest.error().message + ")";
        }
        figures_.push_back(std::move(made));
    }

    /// As many tokens as were published; one more where the answer should have stopped.
    static text answer(const published_continuation& published, const bitnet::any_model& model,
                       bitnet::any_session& session) {
        auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary);
        if (!choose) {
            return bitnet::error{choose.error()};
        }
        std::size_t wanted = published.stops ? 2 : 1; // one id more than spaces, and the stop
        for (const char c : published.answer_ids) {
            wanted += c == ' ' ? 1 : 0;
        }
        std::vector<bitnet::token> ids;
        while (ids.size() < wanted) {
            const auto id = session.next(*choose);
            if (!id) {
                break;
            }
            ids.push_back(*id);
        }
        if (session.stopped_by() == bitnet::stop_reason::error) {
            return bitnet::error{session.last_error()};
        }
        return joined(ids) + (session.stopped_by() == bitnet::stop_reason::stop_token ? " and stops" : "");
    }

    const published_figures& published_;
    const model_options& chosen_;
    std::vector<figure> figures_;
};

} // namespace tools
