"""The module `SampleData`: the list of sample data sets that modules add to. Checked against Slicer's
Modules/Scripted/SampleData/SampleData.py; the host downloads nothing.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import slicer

__all__ = ["SampleDataLogic", "SampleDataSource"]


class SampleDataSource:
    """A sample data set: files, or a function that loads it."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Callable[[Any], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        loadFileType: Any = None,
    ) -> None:
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be specified at the same time")
        loadFileTypes = loadFileTypes if loadFileTypes is not None else loadFileType
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            checksums, loadFiles, loadFileTypes = [checksums], [loadFiles], [loadFileTypes]
        elif isinstance(uris, list | tuple):
            blank = [None] * len(uris)
            nodeNames, loadFiles, checksums = nodeNames or blank, loadFiles or blank, checksums or blank
            if loadFileTypes is None or isinstance(loadFileTypes, str):
                loadFileTypes = [loadFileTypes] * len(uris)
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames
        self.checksums, self.loadFiles, self.loadFileTypes = checksums, loadFiles, loadFileTypes
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        # As in Slicer, TypeError without uris, even when there is a customDownloader.
        lengths = {len(part) for part in (uris, fileNames, nodeNames, loadFiles, loadFileTypes, checksums)}
        if len(lengths) > 1:
            raise ValueError(f"All fields of sample data source {sampleName} must have the same length")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class SampleDataLogic:
    """Registers sample data sets and loads them."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[Any], Any] | None = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: Any = None,
        loadFileType: Any = None,
    ) -> None:
        """Add a sample data set to a category, once."""
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            customDownloader=customDownloader,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            loadFileType=loadFileType,
        )
        if not SampleDataLogic.isSampleDataSourceRegistered(category, source):
            slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> Any:
        """Return the sets of a category, or all by category."""
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        sources = slicer.modules.sampleDataSources
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        """Return whether a set is in a category."""
        return sampleDataSource in SampleDataLogic.sampleDataSourcesByCategory(category)

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        """Return the set of this name, None if there is none."""
        sources = [source for group in self.sampleDataSourcesByCategory().values() for source in group]
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str) -> Any:
        """Load the set of this name and return its first node."""
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """Load the set of this name and return its nodes."""
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadFromSource(self, source: SampleDataSource) -> list[Any]:
        """Load a set's files and return the nodes.

        Raises:
            NotImplementedError: a file is not on this computer.
        """
        if source.customDownloader:
            return source.customDownloader(source)
        nodes = []
        for uri, nodeName, kind in zip(source.uris, source.nodeNames, source.loadFileTypes, strict=True):
            parts = urllib.parse.urlparse(uri)
            if parts.scheme != "file":
                raise NotImplementedError(
                    f"The embedded host downloads nothing; sample {source.sampleName} is at {uri}"
                )
            properties = {**source.loadFileProperties, **({"name": nodeName} if nodeName else {})}
            nodes.append(
                slicer.util.loadNodeFromFile(urllib.request.url2pathname(parts.path), kind or "VolumeFile", properties)
            )
        return nodes
