// SPDX-License-Identifier: MIT
// split_gguf: the GGUF files of a split model, opened as if they were one.
#ifndef BITNET_CHECKPOINT_SPLIT_GGUF_HPP
#define BITNET_CHECKPOINT_SPLIT_GGUF_HPP

#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/shard.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/page_mode.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// One opening of a split model. Use open_split_gguf.
class split_gguf_reader {
public:
    split_gguf_reader(byte_source first, gguf_file parsed, const shard_facts& facts, page_mode pages,
                      copy_progress progress)
        : path_(first.name()), first_(std::move(parsed)), memory_(first_.memory()), facts_(facts), pages_(pages),
          progress_(progress) {
        sources_.push_back(std::move(first));
    }

    [[nodiscard]] result<opened_checkpoint> run() {
        const auto names = shard_path::parse(path_);
        if (!check_name(names)) {
            return std::move(failure_);
        }
        for (std::uint64_t number = 1; number < facts_.count; ++number) {
            if (!open_shard(number, names->of(number))) {
                return std::move(failure_);
            }
        }
        const std::uint64_t found = first_.tensors().size() + more_.size();
        if (facts_.tensors.value_or(found) != found) {
            return error{errc::inconsistent, sentence({path_, ": 'split.tensors.count' is ", *facts_.tensors, ", the ",
                                                       facts_.count, " shards have ", found, " tensors"})};
        }
        auto whole = gguf_file::extend(std::move(first_), more_.span());
        if (!whole) {
            return failed(whole);
        }
        return opened_checkpoint{*std::move(whole), std::move(sources_), {}, {}, std::move(notes_), false};
    }

private:
    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool check_name(const std::optional<shard_path>& names) {
        if (!names || names->number() != facts_.number || names->count() != facts_.count) {
            return set_error(
                failure_, errc::bad_file_name, {path_, ": 'split.no' is ", facts_.number, " and 'split.count' "},
                {facts_.count, ", so its name has to end in ", shard_path::ending(facts_.number, facts_.count),
                 ": the other shards are found by such names"});
        }
        return facts_.number == 0 ||
               set_error(failure_, errc::invalid_argument, {path_, ": is shard ", facts_.number + 1, " of "},
                         {facts_.count, "; a split model is opened by its first, ", names->of(0)});
    }

    [[nodiscard]] bool open_shard(std::uint64_t number, const std::string& path) {
        auto source = byte_source::open(path, pages_, memory_, progress_);
        if (!source) {
            return set_error(failure_, source.error().code, {path_, ": shard ", number + 1, " of "},
                             {facts_.count, ": ", source.error().message});
        }
        const auto parsed = gguf_file::parse(source->bytes(), source->name(), memory_);
        if (!parsed) {
            failure_ = failed(parsed);
            return false;
        }
        if (!check_facts(*parsed, number) || !check_metadata(*parsed)) {
            return false;
        }
        if (!keep_tensors(parsed->tensors())) {
            return false;
        }
        sources_.push_back(*std::move(source));
        return true;
    }

    [[nodiscard]] bool keep_tensors(std::span<const gguf_tensor> tensors) {
        buffer<gguf_tensor> all;
        allocate(all, more_.size() + tensors.size(), sentence({path_, ": tensor list"}), failure_,
                 {memory_, {memory_use::temporary, false}});
        if (failure_.code != errc{}) {
            return false;
        }
        std::copy_n(more_.data(), more_.size(), all.data());
        std::copy_n(tensors.data(), tensors.size(), all.data() + more_.size());
        more_ = std::move(all);
        return true;
    }

    [[nodiscard]] bool check_facts(const gguf_file& shard, std::uint64_t number) {
        const auto facts = shard_facts::read(shard);
        if (!facts) {
            failure_ = failed(facts);
            return false;
        }
        if (facts->number != number || facts->count != facts_.count) {
            return set_error(failure_, errc::inconsistent,
                             {shard.name(), ": says that it is shard ", facts->number + 1},
                             {" of ", facts->count, ", but by its name it is shard ", number + 1, " of ", facts_.count,
                              " of ", path_});
        }
        if (facts->tensors && facts_.tensors && *facts->tensors != *facts_.tensors) {
            return set_error(failure_, errc::inconsistent,
                             {shard.name(), ": 'split.tensors.count' is ", *facts->tensors},
                             {", in ", path_, " it is ", *facts_.tensors});
        }
        return true;
    }

    /// The first shard has the metadata of the model; what others repeat has to be the same.
    [[nodiscard]] bool check_metadata(const gguf_file& shard) {
        for (const gguf_value& entry : shard.metadata()) {
            if (is_shard_key(entry.key) || entry.key == "general.alignment") {
                continue;
            }
            const gguf_value* same = first_.find(entry.key);
            if (same == nullptr) {
                notes_.push_back(sentence({shard.name(), ": metadata key ", quoted{entry.key},
                                           " is not used: the first shard does not have it"}));
            } else if (same->type != entry.type || same->element_type != entry.element_type ||
                       !std::equal(same->bytes.begin(), same->bytes.end(), entry.bytes.begin(), entry.bytes.end())) {
                return set_error(failure_, errc::inconsistent, {shard.name(), ": metadata key ", quoted{entry.key}},
                                 {" has another value than in ", path_, ", so they are no shards of one model"});
            }
        }
        return true;
    }

    std::string path_;
    gguf_file first_;
    const memory_source* memory_;
    shard_facts facts_;
    page_mode pages_;
    copy_progress progress_;
    std::vector<byte_source> sources_;
    buffer<gguf_tensor> more_; ///< of all shards but the first
    std::vector<std::string> notes_;
    error failure_;
};

/// Maps all shards of the split model whose first shard is `first`, `parsed` and with more than one by `facts`, or
/// reads them if `pages` is page_mode::copied. The result has the metadata of the first and the tensors of all. \return
/// errc::bad_file_name if `first` is not called as shards are, invalid_argument if it is not the first; the errors of
/// byte_source::open and gguf_file::parse for each of the others; inconsistent for a shard of another model, and if
/// tensors are missing; duplicate_tensor; out_of_memory. Each names the shard.
[[nodiscard]] inline result<opened_checkpoint> open_split_gguf(byte_source first, gguf_file parsed,
                                                               const shard_facts& facts, page_mode pages,
                                                               copy_progress progress = {}) {
    return split_gguf_reader(std::move(first), std::move(parsed), facts, pages, progress).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
