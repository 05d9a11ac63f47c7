"""Where records come from: local files, prepared TFDS directories, generators, TFDS.

`open_split` looks, in this order, at the files the user names, the user's folder, what
the source makes itself, and the TFDS catalogue. Nothing is ever downloaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from lmtasks.data import local
from lmtasks.data import readers
from lmtasks.data import records
from lmtasks.data import tfds_files
from lmtasks.data import token_files

SPLITS = ("train", "validation", "test")
ON_ERROR = ("raise", "skip", "quarantine")


@dataclasses.dataclass(frozen=True)
class Source:
    """What a task says about its data.

    Attributes:
        tfds: name in the TFDS catalogue, such as "glue/sst2"; "" = not in it.
        splits: our split -> TFDS split expression, such as "train[90%:]".
        fields: record key -> column name, or number in files without a header.
        files: our split -> default file in config.data.dir; under "*" a pattern for all
            splits, such as "{split}.tsv". A name may be a glob, or two files joined by
            "+" (parallel text); ".gz" need not be said.
        format: of the default files, where their ending does not tell it.
        make: (split, seed) -> records, for what is generated, embedded or in memory.
        read: own reader, path -> (line number, record or readers.Bad) pairs.
    """

    tfds: str = ""
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {split: split for split in SPLITS}
    )
    fields: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    format: str = ""
    make: Callable[[str, int], Sequence[records.Record]] | None = None
    read: local.Reader | None = None

    @classmethod
    def memory(cls, splits: Mapping[str, Sequence[records.Record]]) -> Source:
        """Return a source of the given records."""
        return cls(
            splits={split: split for split in splits},
            make=lambda split, seed: splits[split],
        )


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What the user says about the data: the section config.data.

    Attributes:
        dir: folder of local files, or prepared by TFDS or `lmtasks prepare`.
        files: split -> file, in dir or by its own path.
        fields: record key -> column, over the source's.
        format: of the files; "" = by their ending.
        on_error: malformed record: "raise", "skip" (counted) or "quarantine" (counted,
            and listed in a file).
        seed: of what is generated.
        limit: use only so many records of each split; 0 = all.
        quarantine: folder of those files, SPLIT.jsonl.
    """

    dir: str = ""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, str | int] = dataclasses.field(default_factory=dict)
    format: str = ""
    on_error: str = "raise"
    seed: int = 0
    limit: int = 0
    quarantine: str = ""

    def __post_init__(self):
        if self.on_error not in ON_ERROR:
            raise ValueError(
                f"data.on_error={self.on_error!r} is not one of {', '.join(ON_ERROR)}."
            )
        if self.limit < 0:
            raise ValueError(
                f"data.limit={self.limit} is negative; 0 means all records."
            )


def open_split(
    source: Source,
    split: str,
    options: DataOptions = DataOptions(),
    check: Callable[[records.Record], object] | None = None,
) -> records.Records:
    """Return the records of a split, by index.

    Local files are parsed once into memory, which fits up to about 1 GB of text. `check`
    is called with each record of a local file (a task's `example`, say): one it raises
    for is malformed, and named by file and line.

    Raises:
        ValueError: no such split, a malformed or empty file, a data set that is not
            prepared; each in a sentence that says what to do.
        FileNotFoundError: a file or folder that the user names is not there.
    """
    if token_files.is_folder(options.dir) and split not in options.files:
        if split not in token_files.splits_of(options.dir):
            raise ValueError(_no_split(source, split, options))
        return token_files.open_split(options.dir, split, options.limit)
    files = _files(source, split, options)
    if files:
        layout = _layout(source, split, files[0], options)
        return local.load(files, dataclasses.replace(layout, check=check), split)
    folder = _prepared(source, options)
    if not has_split(source, split, options):
        raise ValueError(_no_split(source, split, options))
    if folder:
        expression = _expressions(source, folder)[split]
        opened = tfds_files.open_folder(folder, expression)
    elif source.make is not None:
        return _made(source, split, options.seed).first(options.limit)
    else:
        opened = tfds_files.open_catalogue(source.tfds, source.splits[split])
    return _renamed(opened, options.fields).first(options.limit)


def has_split(source: Source, split: str, options: DataOptions = DataOptions()) -> bool:
    """Return whether the data has the split; reads no records."""
    return split in split_names(source, options)


def split_names(source: Source, options: DataOptions = DataOptions()) -> list[str]:
    """Return the splits there are: ours first, in their order, then the user's own."""
    if token_files.is_folder(options.dir):
        return [*options.files, *token_files.splits_of(options.dir)]
    names = _local_splits(source, options)
    folder = _prepared(source, options)
    if folder:
        names += _expressions(source, folder)
    elif not (options.dir or options.files) and (source.make or source.tfds):
        names = list(source.splits)
    ours = [split for split in SPLITS if split in names]
    return ours + sorted(set(names) - set(ours))


def _local_splits(source: Source, options: DataOptions) -> list[str]:
    """Return the splits that are local files; which of several is asked on opening."""
    _check_folder(options)
    if not options.dir or tfds_files.is_prepared(options.dir):
        return list(options.files)
    defaults = {name: _default_file(source, name) for name in source.splits}
    defaults |= {name: file for name, file in source.files.items() if name != "*"}
    found = [
        n for n, file in defaults.items() if file and local.find(options.dir, file)
    ]
    return [*options.files, *found, *local.splits_in(options.dir)]


def _files(source: Source, split: str, options: DataOptions) -> list[local.File]:
    """Return the local files of a split, [] where it has none."""
    _check_folder(options)
    given = options.files.get(split)
    if given:
        found = local.find(options.dir, given)
        if not found:
            where = f" in {options.dir}" if options.dir else ""
            raise FileNotFoundError(
                f"config.data.files.{split}={given} is not there{where}."
            )
        return found
    if not options.dir or tfds_files.is_prepared(options.dir):
        return []
    default = _default_file(source, split)
    found = local.find(options.dir, default) if default else []
    return found or local.discover(options.dir, split)


def _check_folder(options: DataOptions) -> None:
    if options.dir and not os.path.isdir(options.dir):
        raise FileNotFoundError(f"config.data.dir={options.dir} is no folder.")


def _prepared(source: Source, options: DataOptions) -> str:
    """Return the TFDS directory that data.dir is or, without local files, holds."""
    if not options.dir or tfds_files.is_prepared(options.dir):
        return options.dir
    here = _local_splits(source, dataclasses.replace(options, files={}))
    if set(here) & {*source.splits, *source.files}:
        return ""
    return tfds_files.folder_of(options.dir, source.tfds)


def _default_file(source: Source, split: str) -> str:
    pattern = source.files.get("*", "").replace("{split}", split)
    return source.files.get(split, pattern)


def _layout(source: Source, split: str, file: local.File, options: DataOptions):
    """Return how to read a file: the source's way if it looks like the source's own."""
    layout = local.Layout(
        format=options.format,
        fields=options.fields,
        on_error=options.on_error,
        limit=options.limit,
        quarantine=options.quarantine,
    )
    default = _default_file(source, split)
    alike = local.format_of(tuple(default.split("+"))) == local.format_of(file)
    if options.format or (default and not alike):
        return layout
    fields = {**source.fields, **options.fields}
    # Names of the user's mean that there is a header, so no numbers of ours.
    if len({type(column) for column in fields.values()}) > 1 and options.fields:
        fields = options.fields
    return dataclasses.replace(
        layout, format=source.format, fields=fields, read=source.read
    )


def _expressions(source: Source, folder: str) -> dict[str, str]:
    """Return our split -> TFDS expression of a prepared folder.

    The source's expressions are written for the catalogue's data set; in any other
    folder a split is what its name says.
    """
    name, there = tfds_files.info_of(folder)
    if name != source.tfds.partition("/")[0]:
        return {split: split for split in there}
    return {
        split: expression
        for split, expression in source.splits.items()
        if expression.partition("[")[0] in there
    }


def _made(source: Source, split: str, seed: int) -> records.Records:
    items = source.make(split, seed)
    mark = records.fingerprint(split, len(items), records.sample(items))
    skipped = getattr(items, "skipped", 0)
    return records.Records(items, split, mark, skipped=skipped)


def _renamed(opened: records.Records, fields: Mapping) -> records.Records:
    """Return TFDS records with the columns that the user names."""
    if not fields or not len(opened):
        return opened
    first = local.mapped(opened[0], fields)
    if isinstance(first, readers.Bad):
        raise ValueError(f"{opened.name}: {first.what}.")
    convert = functools.partial(_convert_renamed, opened.convert, fields)
    mark = records.fingerprint(opened.fingerprint, sorted(fields.items()))
    return dataclasses.replace(opened, convert=convert, fingerprint=mark)


def _convert_renamed(convert, fields: Mapping, item) -> records.Record:
    return local.mapped(convert(item), fields)


def _no_split(source: Source, split: str, options: DataOptions) -> str:
    """Return the sentence for a split that is not there."""
    names = split_names(source, options)
    near = difflib.get_close_matches(split, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    if names:
        return f"there is no split {split!r}, but {', '.join(names)}{hint}"
    if options.dir:
        return (
            f"{options.dir} holds no data: neither {split}.jsonl (or "
            f"{', '.join(local.ENDINGS[1:])}, also .gz) nor a TFDS data set; name the "
            f"file by config.data.files.{split}."
        )
    return (
        "the task brings no data; give a folder by config.data.dir or a file by "
        f"config.data.files.{split}."
    )
