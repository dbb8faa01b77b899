"""The stand-ins offer what their list says, and the check of the list finds what a source lacks."""

from __future__ import annotations

import json
from pathlib import Path

import embedded_slicer
from embedded_slicer import check_sources

HEADER = """
class ctkExample : public QWidget
{
  Q_PROPERTY(double value READ value WRITE setValue)
  Q_PROPERTY(QComboBox::SizeAdjustPolicy policy READ policy)
public:
  virtual void setRange(double min, double max);
  Q_INVOKABLE vtkMRMLNode* nodeFromIndex(int index) const;
public Q_SLOTS:
  virtual void setValue(double value);  // not setComment(int)
  vtkMRMLNode* addNode();
Q_SIGNALS:
  void valueChanged(double value);
protected slots:
  void onValue(double value);
private:
  int Counter(int);
};
"""


def test_the_list_is_what_the_stand_ins_offer() -> None:
    from embedded_slicer.gui.stand_ins import offered

    path = Path(embedded_slicer.__file__).parent / "gui" / "members.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    assert {name: entry["members"] for name, entry in listed.items()} == offered()


def test_only_what_pythonqt_sees_of_a_header_counts() -> None:
    assert check_sources.cpp_members(HEADER) == {
        "value",
        "policy",
        "nodeFromIndex",
        "setValue",
        "addNode",
        "valueChanged",
    }


def test_static_methods_of_decorators_count_under_their_own_name() -> None:
    header = "public slots:\n  bool static_qSlicerCoreApplication_testingEnabled() { return true; }\n"
    assert "testingEnabled" in check_sources.cpp_members(header)


def test_a_member_that_the_source_lacks_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ctkExample.h").write_text(HEADER, encoding="utf-8")
    listed = {"ctkExample": {"source": "CTK ctkExample.h", "members": ["setRange", "setValue"]}}
    assert check_sources.missing(listed, {"CTK": tmp_path}) == ["ctkExample.setRange (CTK ctkExample.h)"]
    listed["ctkExample"]["source"] = "CTK gone.h"
    assert check_sources.missing(listed, {"CTK": tmp_path})[0] == "ctkExample: there is no CTK gone.h"
